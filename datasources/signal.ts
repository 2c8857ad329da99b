import type { ChangeRecorder } from './change-recorder.ts';
import { createKeyset, type TimeRange, within } from './keyset.ts';
import { fragment, isOneOf, type Sql, type SqlStatement } from './sql.ts';

export type SignalType = 'LONG' | 'SHORT' | 'CLOSE_LONG' | 'CLOSE_SHORT' | 'NEUTRAL';
export type SignalStatus = 'ACTIVE' | 'PROCESSED' | 'EXPIRED';

/** What a strategy suggests. It is also the document that stands in the change log. */
export interface Signal {
  readonly accountId: string;
  readonly id: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly type: SignalType;
  readonly status: SignalStatus;
  /** 0 to 1, as is `confidence`. */
  readonly strength: number;
  readonly confidence: number;
  readonly strategy: string;
  readonly suggestedPrice: string | null;
  readonly suggestedStopLoss: string | null;
  readonly suggestedTakeProfit: string | null;
  readonly suggestedQuantity: string | null;
  readonly metadata: unknown;
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly processedAt: string | null;
}

/** What two signals that say the same have in common. */
export type SignalKey = Pick<Signal, 'exchange' | 'symbol' | 'strategy' | 'type'>;

export interface SignalWhere {
  readonly exchange?: string | null;
  readonly symbols?: readonly string[] | null;
  readonly type?: readonly SignalType[] | null;
  readonly status?: readonly SignalStatus[] | null;
  readonly strategy?: string | null;
  /** from <= createdAt < to */
  readonly createdAt?: TimeRange | null;
}

const columns = fragment`
  account_id, id, exchange, symbol, type, status, strength, confidence, strategy,
  trim_scale(suggested_price) as suggested_price,
  trim_scale(suggested_stop_loss) as suggested_stop_loss,
  trim_scale(suggested_take_profit) as suggested_take_profit,
  trim_scale(suggested_quantity) as suggested_quantity, metadata, created_at, expires_at,
  processed_at`;

export function createSignalRepository(sql: Sql, recorder: ChangeRecorder) {
  function recordUpdate(before: Signal, after: Signal): void {
    const { accountId, id } = after;
    recorder.record({ accountId, entity: 'signal', operation: 'UPDATE', ids: [id], before, after });
  }

  const pages = createKeyset<Signal, SignalWhere>(sql, {
    names: {
      findByIds: fragment`/* signals.findByIds */`,
      list: fragment`/* signals.list */`,
      count: fragment`/* signals.count */`,
    },
    table: fragment`signals`,
    columns,
    conditions: signalConditions,
  });
  return {
    ...pages,

    /** Waits for other units that create signals of these keys: no unique index has a window. */
    async lockKeys(accountId: string, keys: readonly SignalKey[]): Promise<void> {
      const names = keys.map(({ exchange, symbol, strategy, type }) =>
        JSON.stringify([accountId, exchange, symbol, strategy, type]),
      );
      await sql`
        /* signals.lockKeys */
        select pg_advisory_xact_lock(key) from (
          select distinct hashtextextended(name, 3) as key from unnest(${names}::text[]) as name
          order by key) as keys`;
    },

    /**
     * The newest signal of each key that was created after `since` and has not expired at `at`,
     * processed or not; in no order.
     */
    async findStanding(
      accountId: string,
      keys: readonly SignalKey[],
      { since, at }: { readonly since: string; readonly at: string },
    ): Promise<readonly Signal[]> {
      return sql<Signal>`
        /* signals.findStanding */
        select distinct on (exchange, symbol, strategy, type) ${columns}
        from signals
        where account_id = ${accountId} and (exchange, symbol, strategy, type) in (
            select * from unnest(
              ${keys.map((key) => key.exchange)}::text[], ${keys.map((key) => key.symbol)}::text[],
              ${keys.map((key) => key.strategy)}::text[], ${keys.map((key) => key.type)}::text[]))
          and created_at > ${since}
          and status <> 'EXPIRED' and (status = 'PROCESSED' or expires_at > ${at})
        order by exchange, symbol, strategy, type, signals.created_at desc, id desc`;
    },

    /** Inserts new rows and records each. */
    async insertMany(accountId: string, signals: readonly Signal[]): Promise<void> {
      await sql`
        /* signals.insertMany */
        insert into signals (
          account_id, id, exchange, symbol, type, status, strength, confidence, strategy,
          suggested_price, suggested_stop_loss, suggested_take_profit, suggested_quantity,
          metadata, created_at, expires_at)
        select ${accountId}, i.id, i.exchange, i.symbol, i.type, i.status, i.strength,
          i.confidence, i.strategy, i."suggestedPrice", i."suggestedStopLoss",
          i."suggestedTakeProfit", i."suggestedQuantity", i.metadata, i."createdAt", i."expiresAt"
        from json_to_recordset(${JSON.stringify(signals)}::text::json) as i (
          id uuid, exchange text, symbol text, type text, status text, strength float8,
          confidence float8, strategy text, "suggestedPrice" numeric, "suggestedStopLoss" numeric,
          "suggestedTakeProfit" numeric, "suggestedQuantity" numeric, metadata jsonb,
          "createdAt" timestamptz, "expiresAt" timestamptz)
        order by i.id`;
      for (const after of signals) {
        recorder.record({
          accountId,
          entity: 'signal',
          operation: 'INSERT',
          ids: [after.id],
          before: null,
          after,
        });
      }
    },

    /** The rows with these ids, locked in id order until the unit ends. */
    async lock(accountId: string, ids: readonly string[]): Promise<readonly Signal[]> {
      return sql<Signal>`
        /* signals.lock */
        select ${columns} from signals
        where account_id = ${accountId} and id = any(${ids}::uuid[])
        order by id for no key update`;
    },

    /** Marks rows that this unit has locked as processed and records each; the rows after it. */
    async processMany(accountId: string, signals: readonly Signal[]): Promise<readonly Signal[]> {
      const { count } = await sql`
        /* signals.processMany */
        update signals set status = 'PROCESSED', processed_at = ${recorder.at}
        where account_id = ${accountId} and status = 'ACTIVE'
          and id = any(${signals.map((signal) => signal.id)}::uuid[])`;
      if (count !== signals.length) throw new Error('a locked signal changed under its lock');
      return signals.map((before) => {
        const after: Signal = { ...before, status: 'PROCESSED', processedAt: recorder.at };
        recordUpdate(before, after);
        return after;
      });
    },

    /**
     * Marks up to `limit` active signals of any account that expire at `at` or before as expired
     * and records each; how many.
     */
    async expireMany(at: string, limit: number): Promise<number> {
      const rows = await sql<Signal>`
        /* signals.expireMany */
        with due as (
          select account_id, id from signals
          where status = 'ACTIVE' and expires_at <= ${at}
          order by account_id, id limit ${limit} for no key update
        ), expired as (
          update signals as s set status = 'EXPIRED' from due
          where s.account_id = due.account_id and s.id = due.id
          returning s.*
        )
        select ${columns} from expired order by account_id, id`;
      for (const after of rows) recordUpdate({ ...after, status: 'ACTIVE' }, after);
      return rows.length;
    },
  };
}

function signalConditions(where: SignalWhere): SqlStatement<unknown> {
  return fragment`
    ${where.exchange ? fragment`and exchange = ${where.exchange}` : fragment``}
    ${where.symbols ? fragment`and ${isOneOf(fragment`symbol`, where.symbols, fragment`text`)}` : fragment``}
    ${where.type ? fragment`and type = any(${where.type}::text[])` : fragment``}
    ${where.status ? fragment`and status = any(${where.status}::text[])` : fragment``}
    ${where.strategy ? fragment`and strategy = ${where.strategy}` : fragment``}
    ${within(fragment`created_at`, where.createdAt)}`;
}
