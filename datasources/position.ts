import {
  type ChangeRecorder,
  recordInserts,
  recordUpdates,
  type Update,
} from './change-recorder.ts';
import type { HeldWrites } from './held-writes.ts';
import { createKeyset, type TimeRange, within } from './keyset.ts';
import { insertPositions, toPosition } from './position-rows.ts';
import { fragment, isOneOf, type Sql, type SqlStatement } from './sql.ts';

export type PositionSide = 'LONG' | 'SHORT';
export type PositionStatus = 'OPEN' | 'CLOSED' | 'LIQUIDATED';
export type StopKind = 'STOP_LOSS' | 'TAKE_PROFIT';

/** An exposure. It is also the document that stands before and after in the change log. */
export interface Position {
  readonly accountId: string;
  readonly id: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: PositionSide;
  readonly status: PositionStatus;
  readonly quantity: string;
  readonly entryPrice: string;
  readonly stopLossPrice: string | null;
  readonly takeProfitPrice: string | null;
  readonly leverage: string;
  readonly realizedPnl: string;
  readonly fees: string;
  readonly strategy: string | null;
  readonly closeReason: string | null;
  readonly stopTriggeredAt: string | null;
  readonly stopTriggeredKind: StopKind | null;
  readonly metadata: unknown;
  readonly openedAt: string;
  readonly updatedAt: string;
  readonly closedAt: string | null;
  readonly version: number;
  readonly hasFills: boolean;
}

/** A position as it is opened: what a repeat of its item is recognized by comes along. */
export interface NewPosition extends Position {
  readonly clientId: string | null;
  readonly itemHash: string | null;
}

export interface PositionWhere {
  readonly ids?: readonly string[] | null;
  readonly exchange?: string | null;
  readonly symbols?: readonly string[] | null;
  readonly status?: readonly PositionStatus[] | null;
  readonly side?: PositionSide | null;
  readonly strategy?: string | null;
  /** from <= openedAt < to */
  readonly openedAt?: TimeRange | null;
}

export interface PositionKey {
  readonly exchange: string;
  readonly symbol: string;
  readonly side: PositionSide;
}

/** A row of `positions` as a Position. */
export const columns = fragment`
  account_id, id, exchange, symbol, side, status,
  trim_scale(quantity) as quantity, trim_scale(entry_price) as entry_price,
  trim_scale(stop_loss_price) as stop_loss_price,
  trim_scale(take_profit_price) as take_profit_price, trim_scale(leverage) as leverage,
  trim_scale(realized_pnl) as realized_pnl, trim_scale(fees) as fees, strategy, close_reason,
  stop_triggered_at, stop_triggered_kind, metadata, opened_at, updated_at, closed_at, version,
  has_fills`;

/** What `lockInstruments` locks, of a row. */
export const INSTRUMENT_KEY: SqlStatement<unknown> = fragment`
  hashtextextended(account_id || ':' || exchange || ':' || symbol, 1)`;

export function createPositionRepository(held: HeldWrites, recorder: ChangeRecorder) {
  const { sql } = held;
  const pages = createKeyset<Position, PositionWhere>(sql, {
    names: {
      findByIds: fragment`/* positions.findByIds */`,
      list: fragment`/* positions.list */`,
      count: fragment`/* positions.count */`,
    },
    table: fragment`positions`,
    columns,
    conditions: positionConditions,
  });
  return {
    ...pages,

    /**
     * Waits for other units that open positions of these instruments: in a one-way account LONG
     * and SHORT exclude each other, which no unique index says.
     */
    async lockInstruments(
      accountId: string,
      instruments: readonly { readonly exchange: string; readonly symbol: string }[],
    ): Promise<void> {
      await lockInstruments(held.locking, accountId, instruments);
    },

    /** The open rows of these instruments (either side) and the rows opened under these client ids. */
    async findForOpening(
      accountId: string,
      instruments: readonly { readonly exchange: string; readonly symbol: string }[],
      clientIds: readonly string[],
    ): Promise<readonly NewPosition[]> {
      return held.reading<NewPosition>`
        /* positions.findForOpening */
        select ${columns}, client_id, encode(item_hash, 'hex') as item_hash from positions
        where account_id = ${accountId} and client_id = any(${clientIds}::text[])
        union
        select ${columns}, client_id, encode(item_hash, 'hex') as item_hash from positions
        where account_id = ${accountId} and status = 'OPEN' and (exchange, symbol) in (
          select * from unnest(
            ${instruments.map((one) => one.exchange)}::text[],
            ${instruments.map((one) => one.symbol)}::text[]))`;
    },

    /**
     * The rows with these ids and the open rows of these keys, locked in id order until the unit
     * ends, so that two batches over the same rows wait for each other and never deadlock.
     */
    async lock(
      accountId: string,
      ids: readonly string[],
      keys: readonly PositionKey[],
    ): Promise<readonly Position[]> {
      const known = heldByName(held.positions(accountId), ids, keys);
      if (known !== null) return known;
      if (keys.length === 0) {
        return held.reading<Position>`
          /* positions.lockByIds */
          select ${columns} from positions
          where account_id = ${accountId} and id = any(${ids}::uuid[])
          order by id for no key update`;
      }
      // Joined with OR the two would read every open position of the account.
      return held.reading<Position>`
        /* positions.lock */
        select ${columns} from positions
        where account_id = ${accountId} and id = any(${ids}::uuid[] || array(
          select id from positions
          where account_id = ${accountId} and status = 'OPEN' and ${areOneOf(keys)}
            and ${isOneOf(
              fragment`exchange || ' ' || symbol || ' ' || side`,
              keys.map(keyOf),
              fragment`text`,
            )}))
        order by id for no key update`;
    },

    /** The open rows of these instruments, of either side, locked in id order until the unit ends. */
    async lockOpen(
      accountId: string,
      instruments: readonly { readonly exchange: string; readonly symbol: string }[],
    ): Promise<readonly Position[]> {
      const rows = await held.locking<Position>`
        /* positions.lockOpen */
        select ${columns} from positions
        where account_id = ${accountId} and status = 'OPEN' and ${areOneOf(instruments)}
        order by id for no key update`;
      return withHeld(rows, held.positions(accountId), instruments);
    },

    /**
     * Inserts rows that are not there yet and records each. The ids of those inserted: one that is
     * missing met an open position or a client id that another unit committed meanwhile.
     */
    async insertMany(
      accountId: string,
      positions: readonly NewPosition[],
    ): Promise<ReadonlySet<string>> {
      const rows = await sql<{ id: string }>`
        /* positions.insertMany */ ${insertPositions(accountId, positions)} returning id`;
      const inserted = new Set(rows.map((row) => row.id));
      const stored = positions.filter((position) => inserted.has(position.id)).map(toPosition);
      recordInserts(recorder, accountId, 'position', stored);
      return inserted;
    },

    /**
     * Writes the next state of open rows that this unit has locked and records each. `next.version`
     * is the version it becomes.
     */
    async updateMany(accountId: string, updates: readonly Update<Position>[]): Promise<void> {
      await held.updatePositions(accountId, updates);
      recordUpdates(recorder, accountId, 'position', updates);
    },
  };
}

/** Waits for these instruments, as `PositionRepository.lockInstruments` does. */
export async function lockInstruments(
  sql: Sql,
  accountId: string,
  instruments: readonly { readonly exchange: string; readonly symbol: string }[],
): Promise<void> {
  const keys = instruments.map(({ exchange, symbol }) => `${accountId}:${exchange}:${symbol}`);
  await sql`
    /* positions.lockInstruments */
    select pg_advisory_xact_lock(key) from (
      select distinct hashtextextended(name, 1) as key from unnest(${keys}::text[]) as name
      order by key) as keys`;
}

/** The rows that the unit holds under these names, in id order; null unless all are among them. */
function heldByName(
  held: Iterable<Position>,
  ids: readonly string[],
  keys: readonly PositionKey[],
): readonly Position[] | null {
  const byName = new Map<string, Position>();
  for (const row of held) {
    byName.set(row.id, row);
    if (row.status === 'OPEN') byName.set(keyOf(row), row);
  }
  if (byName.size === 0) return null;
  const found = new Map<string, Position>();
  for (const name of [...ids, ...keys.map(keyOf)]) {
    const row = byName.get(name);
    if (row === undefined) return null;
    found.set(row.id, row);
  }
  return inIdOrder([...found.values()]);
}

/** Open rows of these instruments as they will be once what the unit holds is written. */
function withHeld(
  stored: readonly Position[],
  held: Iterable<Position>,
  instruments: readonly { readonly exchange: string; readonly symbol: string }[],
): readonly Position[] {
  const rows = new Map(stored.map((row) => [row.id, row]));
  const names = new Set(instruments.map(({ exchange, symbol }) => `${exchange} ${symbol}`));
  let isSame = true;
  for (const row of held) {
    if (!names.has(`${row.exchange} ${row.symbol}`)) continue;
    isSame = false;
    if (row.status === 'OPEN') rows.set(row.id, row);
    else rows.delete(row.id);
  }
  return isSame ? stored : inIdOrder([...rows.values()]);
}

function keyOf({ exchange, symbol, side }: PositionKey): string {
  return `${exchange} ${symbol} ${side}`;
}

function inIdOrder(rows: Position[]): readonly Position[] {
  return rows.sort((one, other) => (one.id < other.id ? -1 : 1));
}

/** Any exchange of these with any symbol of these: the index finds them; the pairs decide. */
function areOneOf(
  instruments: readonly { readonly exchange: string; readonly symbol: string }[],
): SqlStatement<unknown> {
  const exchanges = [...new Set(instruments.map((one) => one.exchange))];
  const symbols = [...new Set(instruments.map((one) => one.symbol))];
  const pairs = instruments.map((one) => `${one.exchange} ${one.symbol}`);
  return fragment`
    ${isOneOf(fragment`exchange`, exchanges, fragment`text`)}
    and ${isOneOf(fragment`symbol`, symbols, fragment`text`)}
    and ${isOneOf(fragment`exchange || ' ' || symbol`, pairs, fragment`text`)}`;
}

/** What a row of `positions` has to match; columns are not qualified. */
export function positionConditions(where: PositionWhere): SqlStatement<unknown> {
  return fragment`
    ${where.ids ? fragment`and id = any(${where.ids}::uuid[])` : fragment``}
    ${where.exchange ? fragment`and exchange = ${where.exchange}` : fragment``}
    ${where.symbols ? fragment`and ${isOneOf(fragment`symbol`, where.symbols, fragment`text`)}` : fragment``}
    ${where.status ? fragment`and status = any(${where.status}::text[])` : fragment``}
    ${where.side ? fragment`and side = ${where.side}` : fragment``}
    ${where.strategy ? fragment`and strategy = ${where.strategy}` : fragment``}
    ${within(fragment`opened_at`, where.openedAt)}`;
}

/** Whether a row matches, as the database would decide; `ids` are row ids. */
export function matchesPosition(where: PositionWhere, row: Position): boolean {
  return (
    (!where.ids || where.ids.includes(row.id)) &&
    (!where.exchange || where.exchange === row.exchange) &&
    (!where.symbols || where.symbols.includes(row.symbol)) &&
    (!where.status || where.status.includes(row.status)) &&
    (!where.side || where.side === row.side) &&
    (!where.strategy || where.strategy === row.strategy) &&
    (!where.openedAt?.from || row.openedAt >= where.openedAt.from) &&
    (!where.openedAt?.to || row.openedAt < where.openedAt.to)
  );
}
