import type { Sql } from './sql.ts';

/**
 * Tells whether this database is the one its history was written in. A cluster or timeline that is
 * not the remembered one was restored: seqs may be given a second time, so every account gets a new
 * epoch and old cursors are answered with RESET. True when that happened.
 */
export async function adoptHistory(sql: Sql): Promise<boolean> {
  const rows = await sql<{ isRestored: boolean }>`
    /* history.adopt */
    with here as (
      select system_identifier::text as system_identifier, timeline_id
      from pg_control_system(), pg_control_checkpoint()
    ), before as (
      select system_identifier, timeline_id from database_identity
    ), adopted as (
      insert into database_identity (system_identifier, timeline_id)
      select system_identifier, timeline_id from here
      on conflict (is_only) do update
      set system_identifier = excluded.system_identifier, timeline_id = excluded.timeline_id
      where (database_identity.system_identifier, database_identity.timeline_id)
        is distinct from (excluded.system_identifier, excluded.timeline_id)
      returning 1
    ), renamed as (
      update account_heads set epoch = substr(md5(epoch || here.system_identifier
        || here.timeline_id::text), 1, 8)
      from here
      where exists (select from before) and exists (select from adopted)
      returning 1
    )
    select count(*) > 0 as is_restored from renamed`;
  return rows[0]?.isRestored ?? false;
}

/** Names this database among all there are: a copy or a restored one under its name has another. */
export async function readIdentity(sql: Sql): Promise<string> {
  const [row] = await sql<{ identity: string }>`
    /* history.identity */
    select i.system_identifier || '.' || i.timeline_id::text || '.' || d.oid::text as identity
    from database_identity i, pg_database d where d.datname = current_database()`;
  if (row === undefined) throw new Error('a database has an identity once its history is adopted');
  return row.identity;
}
