import type { ChangeRecorder } from './change-recorder.ts';
import type { Sql } from './sql.ts';

/** What the server does by itself, on one node at a time. */
export type MaintenanceStep =
  | 'partitions'
  | 'expiry'
  | 'idempotencyKeys'
  | 'settings'
  | 'retention';

export type MaintenanceRepository = ReturnType<typeof createMaintenanceRepository>;

/** Deletes are recorded with the ids or keys of their rows, a change a call and account. */
export function createMaintenanceRepository(sql: Sql, recorder: ChangeRecorder) {
  function recordDeleted(
    accountId: string,
    entity: string,
    ids: readonly string[],
    until: string,
  ): number {
    if (ids.length === 0) return 0;
    const before = { until };
    recorder.record({ accountId, entity, operation: 'DELETE', ids, before, after: null });
    return ids.length;
  }

  return {
    /** Makes this unit the one that does the step; false while another one does. */
    async tryLock(step: MaintenanceStep): Promise<boolean> {
      const [row] = await sql<{ isTaken: boolean }>`
        /* maintenance.tryLock */
        select pg_try_advisory_xact_lock(hashtextextended(${`tradewind.maintenance.${step}`}, 0))
          as is_taken`;
      return row?.isTaken ?? false;
    },

    /** Makes the partitions of these months that are missing; of how many. */
    async createPartitions(months: readonly string[]): Promise<number> {
      const [row] = await sql<{ count: number }>`
        /* maintenance.createPartitions */
        select count(*) filter (where create_prediction_partitions(month))::int as count
        from unnest(${months}::date[]) as month`;
      return row?.count ?? 0;
    },

    /** Deletes up to `limit` idempotency keys that were committed before an instant; how many. */
    async deleteIdempotencyKeys(before: string, limit: number): Promise<number> {
      const { count } = await sql`
        /* maintenance.deleteIdempotencyKeys */
        delete from idempotency_keys as k using (
          select subject, key from idempotency_keys where committed_at < ${before}
          order by committed_at limit ${limit} for update skip locked
        ) as old
        where k.subject = old.subject and k.key = old.key`;
      return count;
    },

    /** Deletes up to `limit` signals that were created before an instant and are not active. */
    async deleteSignals(accountId: string, before: string, limit: number): Promise<number> {
      const rows = await sql<{ id: string }>`
        /* maintenance.deleteSignals */
        delete from signals where account_id = ${accountId} and id = any(array(
          select id from signals
          where account_id = ${accountId} and id < uuid_at(${before}::timestamptz)
            and status <> 'ACTIVE'
          order by id limit ${limit} for update))
        returning id`;
      return recordDeleted(accountId, 'signal', rows.map(idOf), before);
    },

    /**
     * Deletes up to `limit` predictions that were made before an instant, with their horizons and
     * what waits for their outcomes.
     */
    async deletePredictions(accountId: string, before: string, limit: number): Promise<number> {
      const rows = await sql<{ id: string }>`
        /* maintenance.deletePredictions */
        with old as materialized (
          select id, exchange, symbol, interval, predicted_at from predictions
          where account_id = ${accountId} and id < uuid_at(${before}::timestamptz)
          order by id limit ${limit} for update
        ), ends as materialized (
          select old.*, h.horizon_minutes,
            old.predicted_at + h.horizon_minutes * interval '1 minute' as due_at
          from old join prediction_horizons h on h.prediction_id = old.id
          where h.account_id = ${accountId} and h.prediction_id < uuid_at(${before}::timestamptz)
            and h.prediction_id = any(array(select id from old))
        ), queued as (
          delete from outcome_queue q using ends e
          where q.account_id = ${accountId} and q.due_at = e.due_at and q.prediction_id = e.id
        ), gaps as (
          delete from outcome_gaps g using ends e
          where g.account_id = ${accountId} and g.close_time in (e.predicted_at, e.due_at)
            and g.exchange = e.exchange and g.symbol = e.symbol and g.interval = e.interval
            and g.prediction_id = e.id and g.horizon_minutes = e.horizon_minutes
        ), horizons as (
          delete from prediction_horizons
          where account_id = ${accountId} and prediction_id < uuid_at(${before}::timestamptz)
            and prediction_id = any(array(select id from old))
        )
        delete from predictions
        where account_id = ${accountId} and id < uuid_at(${before}::timestamptz)
          and id = any(array(select id from old))
        returning id`;
      return recordDeleted(accountId, 'prediction', rows.map(idOf), before);
    },

    /** Deletes up to `limit` candles that opened before an instant. */
    async deleteCandles(before: string, limit: number): Promise<number> {
      // Skipping what is locked, it waits for no upsert and needs no order.
      const rows = await sql<{ id: string }>`
        /* maintenance.deleteCandles */
        delete from candles where ctid = any(array(
          select ctid from candles where open_time < ${before}
          limit ${limit} for update skip locked))
        returning exchange || ':' || symbol || ':' || interval || ':' ||
          to_char(open_time, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as id`;
      return recordDeleted('_system', 'candle', rows.map(idOf), before);
    },

    /**
     * Deletes up to `limit` of the oldest changes of an account that were made before an instant,
     * but never the newest, and keeps the place and hash of the last one deleted: the chain of what
     * is kept starts after it. The change that says so anchors that hash in the chain itself.
     */
    async deleteChanges(accountId: string, before: string, limit: number): Promise<number> {
      // Instants never decrease along a log, so what is old is its beginning.
      const [row] = await sql<{ count: number; seq: string; hash: string }>`
        /* maintenance.deleteChanges */
        with oldest as (
          select seq, at, hash from changes
          where account_id = ${accountId} and seq < (
            select seq from account_heads where account_id = ${accountId})
          order by seq limit ${limit}
        ), last as (
          select seq, at, hash from oldest where at < ${before} order by seq desc limit 1
        ), gone as (
          delete from changes
          where account_id = ${accountId} and seq <= (select seq from last)
          returning 1
        ), kept as (
          insert into change_checkpoints as c (account_id, seq, hash, at)
          select ${accountId}, seq, hash, at from last
          on conflict (account_id) do update
          set seq = excluded.seq, hash = excluded.hash, at = excluded.at
          returning c.seq, encode(c.hash, 'hex') as hash
        )
        select seq, hash, (select count(*)::int from gone) as count from kept`;
      if (row === undefined) return 0;
      recorder.record({
        accountId,
        entity: 'change',
        operation: 'DELETE',
        ids: [row.seq],
        count: row.count,
        before: { seq: row.seq, hash: row.hash, until: before },
        after: null,
      });
      return row.count;
    },
  };
}

function idOf({ id }: { readonly id: string }): string {
  return id;
}
