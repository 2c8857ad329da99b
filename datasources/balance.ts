import type { ChangeRecorder } from './change-recorder.ts';
import { fragment, type Sql } from './sql.ts';

/** What an account has of one asset at one exchange. */
export interface Balance {
  readonly exchange: string;
  readonly asset: string;
  /** Below 0 where the exchange lends. */
  readonly free: string;
  readonly locked: string;
  /** When its amounts changed last. */
  readonly updatedAt: string;
}

export type BalanceKey = Pick<Balance, 'exchange' | 'asset'>;

/** A row as it was, or null where there was none, and as it becomes. */
export interface BalanceUpdate {
  readonly before: Balance | null;
  readonly next: Balance;
}

const columns = fragment`
  exchange, asset, trim_scale(free) as free, trim_scale(locked) as locked, updated_at`;

export function createBalanceRepository(sql: Sql, recorder: ChangeRecorder) {
  return {
    /** All balances, or those of one exchange, by exchange and asset. */
    async list(accountId: string, exchange: string | null): Promise<readonly Balance[]> {
      return sql<Balance>`
        /* balances.list */
        select ${columns} from balances
        where account_id = ${accountId}
          ${exchange === null ? fragment`` : fragment`and exchange = ${exchange}`}
        order by exchange, asset`;
    },

    async count(accountId: string): Promise<number> {
      const [row] = await sql<{ count: number }>`
        /* balances.count */
        select count(*)::int as count from balances where account_id = ${accountId}`;
      return row?.count ?? 0;
    },

    /** The rows of these keys, locked in their order until the unit ends. */
    async lock(accountId: string, keys: readonly BalanceKey[]): Promise<readonly Balance[]> {
      return sql<Balance>`
        /* balances.lock */
        select ${columns} from balances
        where account_id = ${accountId} and (exchange, asset) in (
          select * from unnest(
            ${keys.map((key) => key.exchange)}::text[], ${keys.map((key) => key.asset)}::text[]))
        order by exchange, asset for no key update`;
    },

    /**
     * Writes rows that this unit has locked or that are not there yet and records them as one
     * change. False: another unit inserted one of them meanwhile, and this one has to run again.
     */
    async upsertMany(accountId: string, updates: readonly BalanceUpdate[]): Promise<boolean> {
      const { count } = await sql`
        /* balances.upsertMany */
        with given as (
          select * from json_to_recordset(${JSON.stringify(updates.map(toItem))}::text::json) as i (
            exchange text, asset text, free numeric, locked numeric, "updatedAt" timestamptz,
            "isNew" boolean)
        ), updated as (
          update balances as b
          set free = i.free, locked = i.locked, updated_at = i."updatedAt"
          from given as i
          where b.account_id = ${accountId} and b.exchange = i.exchange and b.asset = i.asset
            and not i."isNew"
          returning 1
        ), inserted as (
          insert into balances (account_id, exchange, asset, free, locked, updated_at)
          select ${accountId}, exchange, asset, free, locked, "updatedAt" from given
          where "isNew" order by exchange, asset
          on conflict do nothing
          returning 1
        )
        select 1 from updated union all select 1 from inserted`;
      if (count !== updates.length) return false;
      recorder.record({
        accountId,
        entity: 'balance',
        operation: updates.every(({ before }) => before === null) ? 'INSERT' : 'UPDATE',
        ids: updates.map(({ next }) => `${next.exchange} ${next.asset}`),
        before: updates.map(({ before }) => before),
        after: updates.map(({ next }) => next),
      });
      return true;
    },
  };
}

function toItem({ before, next }: BalanceUpdate) {
  return { ...next, isNew: before === null };
}
