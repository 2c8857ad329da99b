import type { ChangeRecorder } from './change-recorder.ts';
import { fragment, type Sql } from './sql.ts';

/** A named value of an account, for bots and those who run them. */
export interface Setting {
  readonly key: string;
  readonly value: unknown;
  /** Counts its changes, also beyond a removal. */
  readonly version: number;
  readonly updatedAt: string;
}

/** A row with what an item says about it. `value` null: it was removed, and its version goes on. */
export interface LockedSetting extends Setting {
  /** Whether the value is the item's already; how its JSON was written does not matter. */
  readonly isSame: boolean;
}

export interface SettingUpdate {
  readonly before: Setting | null;
  /** `value` null: removed. */
  readonly next: Setting;
}

export function createSettingRepository(sql: Sql, recorder: ChangeRecorder) {
  return {
    /** All settings, or those of these keys, by key. */
    async list(accountId: string, keys: readonly string[] | null): Promise<readonly Setting[]> {
      return sql<Setting>`
        /* settings.list */
        select key, value, version, updated_at from settings
        where account_id = ${accountId} and value is not null
          ${keys === null ? fragment`` : fragment`and key = any(${keys}::text[])`}
        order by key`;
    },

    /** How many there are, with those removed of late. */
    async count(accountId: string): Promise<number> {
      const [row] = await sql<{ count: number }>`
        /* settings.count */
        select count(*)::int as count from settings where account_id = ${accountId}`;
      return row?.count ?? 0;
    },

    /** The rows of these items, removed ones too, locked in key order until the unit ends. */
    async lock(
      accountId: string,
      items: readonly Pick<Setting, 'key' | 'value'>[],
    ): Promise<readonly LockedSetting[]> {
      const given = items.map(({ key, value }) => ({ key, value: value ?? null }));
      return sql<LockedSetting>`
        /* settings.lock */
        select s.key, s.value, s.version, s.updated_at,
          s.value is not distinct from i.value as is_same
        from settings as s
        join json_to_recordset(${JSON.stringify(given)}::text::json) as i (key text, value jsonb)
          on i.key = s.key
        where s.account_id = ${accountId}
        order by s.key for no key update of s`;
    },

    /**
     * Writes the next state of rows that this unit has locked, or that are not there yet, and
     * records each. False: another unit made one of them meanwhile; this one has to run again.
     */
    async upsertMany(accountId: string, updates: readonly SettingUpdate[]): Promise<boolean> {
      const { count } = await sql`
        /* settings.upsertMany */
        insert into settings as s (account_id, key, value, version, updated_at)
        select ${accountId}, i.key, i.value, i.version, i."updatedAt"
        from json_to_recordset(${JSON.stringify(updates.map(({ next }) => next))}::text::json) as i (
          key text, value jsonb, version int, "updatedAt" timestamptz)
        order by i.key
        on conflict (account_id, key) do update
        set value = excluded.value, version = excluded.version, updated_at = excluded.updated_at
        where s.version = excluded.version - 1`;
      if (count !== updates.length) return false;
      for (const { before, next } of updates) {
        const isRemoved = next.value === null;
        recorder.record({
          accountId,
          entity: 'setting',
          operation: isRemoved ? 'DELETE' : before === null ? 'INSERT' : 'UPDATE',
          ids: [next.key],
          before,
          after: isRemoved ? null : next,
        });
      }
      return true;
    },

    /** Forgets the versions of settings that were removed before an instant; of all accounts. */
    async purgeRemoved(before: string, limit: number): Promise<number> {
      const { count } = await sql`
        /* settings.purgeRemoved */
        delete from settings as s using (
          select account_id, key from settings where value is null and updated_at < ${before}
          order by account_id, key limit ${limit} for update skip locked
        ) as old
        where s.account_id = old.account_id and s.key = old.key`;
      return count;
    },
  };
}
