import {
  type ChangeRecorder,
  recordInserts,
  recordUpdates,
  type Update,
} from './change-recorder.ts';
import { createKeyset, type TimeRange, within } from './keyset.ts';
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

export function createPositionRepository(sql: Sql, recorder: ChangeRecorder) {
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
      const keys = instruments.map(({ exchange, symbol }) => `${accountId}:${exchange}:${symbol}`);
      await sql`
        /* positions.lockInstruments */
        select pg_advisory_xact_lock(key) from (
          select distinct hashtextextended(name, 1) as key from unnest(${keys}::text[]) as name
          order by key) as keys`;
    },

    /** The open rows of these instruments (either side) and the rows opened under these client ids. */
    async findForOpening(
      accountId: string,
      instruments: readonly { readonly exchange: string; readonly symbol: string }[],
      clientIds: readonly string[],
    ): Promise<readonly NewPosition[]> {
      return sql<NewPosition>`
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
      if (keys.length === 0) {
        return sql<Position>`
          /* positions.lockByIds */
          select ${columns} from positions
          where account_id = ${accountId} and id = any(${ids}::uuid[])
          order by id for no key update`;
      }
      // Joined with OR the two would read every open position of the account.
      return sql<Position>`
        /* positions.lock */
        select ${columns} from positions
        where account_id = ${accountId} and id = any(${ids}::uuid[] || array(
          select id from positions
          where account_id = ${accountId} and status = 'OPEN' and ${areOneOf(keys)}
            and ${isOneOf(
              fragment`exchange || ' ' || symbol || ' ' || side`,
              keys.map((key) => `${key.exchange} ${key.symbol} ${key.side}`),
              fragment`text`,
            )}))
        order by id for no key update`;
    },

    /** The open rows of these instruments, of either side, locked in id order until the unit ends. */
    async lockOpen(
      accountId: string,
      instruments: readonly { readonly exchange: string; readonly symbol: string }[],
    ): Promise<readonly Position[]> {
      return sql<Position>`
        /* positions.lockOpen */
        select ${columns} from positions
        where account_id = ${accountId} and status = 'OPEN' and ${areOneOf(instruments)}
        order by id for no key update`;
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
        /* positions.insertMany */ ${insertPositions(accountId, positions)}`;
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
      const rows = await sql`/* positions.updateMany */ ${updatePositions(accountId, updates)}`;
      assertAllUpdated(rows.count, updates, 'position');
      recordUpdates(recorder, accountId, 'position', updates);
    },
  };
}

/** A row that was locked cannot have another version. */
export function assertAllUpdated(
  count: number,
  updates: readonly unknown[],
  entity: 'order' | 'position',
): void {
  if (count !== updates.length) throw new Error(`a locked ${entity} changed under its lock`);
}

export function toPosition({
  clientId: _clientId,
  itemHash: _itemHash,
  ...position
}: NewPosition): Position {
  return position;
}

/** The INSERT of rows that are not there yet, once `condition` holds; it gives their ids. */
export function insertPositions(
  accountId: string,
  positions: readonly NewPosition[],
  condition: SqlStatement<unknown> = fragment`true`,
): SqlStatement<unknown> {
  return fragment`
    insert into positions (
      account_id, id, exchange, symbol, side, status, quantity, entry_price, stop_loss_price,
      take_profit_price, leverage, realized_pnl, fees, strategy, close_reason, metadata,
      opened_at, updated_at, closed_at, client_id, item_hash, has_fills)
    select ${accountId}, i.id, i.exchange, i.symbol, i.side, i.status, i.quantity,
      i."entryPrice", i."stopLossPrice", i."takeProfitPrice", i.leverage, i."realizedPnl",
      i.fees, i.strategy, i."closeReason", i.metadata, i."openedAt", i."updatedAt",
      i."closedAt", i."clientId", decode(i."itemHash", 'hex'), i."hasFills"
    from json_to_recordset(${JSON.stringify(positions)}::text::json) as i (
      id uuid, exchange text, symbol text, side text, status text, quantity numeric,
      "entryPrice" numeric, "stopLossPrice" numeric, "takeProfitPrice" numeric,
      leverage numeric, "realizedPnl" numeric, fees numeric, strategy text,
      "closeReason" text, metadata jsonb, "openedAt" timestamptz, "updatedAt" timestamptz,
      "closedAt" timestamptz, "clientId" text, "itemHash" text, "hasFills" boolean)
    where ${condition}
    order by i.exchange, i.symbol, i.side
    on conflict do nothing
    returning id`;
}

/** The guarded UPDATE of locked rows. */
export function updatePositions(
  accountId: string,
  updates: readonly Update<Position>[],
): SqlStatement<unknown> {
  const ids = updates.map(({ next }) => next.id);
  return fragment`
    update positions as p
    set status = i.status, quantity = i.quantity, entry_price = i."entryPrice",
      stop_loss_price = i."stopLossPrice", take_profit_price = i."takeProfitPrice",
      leverage = i.leverage, realized_pnl = i."realizedPnl", fees = i.fees,
      close_reason = i."closeReason", stop_triggered_at = i."stopTriggeredAt",
      stop_triggered_kind = i."stopTriggeredKind", metadata = i.metadata,
      updated_at = i."updatedAt", closed_at = i."closedAt", version = i.version,
      has_fills = i."hasFills"
    from json_to_recordset(${JSON.stringify(updates.map((update) => update.next))}::text::json)
      as i (
        id uuid, status text, quantity numeric, "entryPrice" numeric, "stopLossPrice" numeric,
        "takeProfitPrice" numeric, leverage numeric, "realizedPnl" numeric, fees numeric,
        "closeReason" text, "stopTriggeredAt" timestamptz, "stopTriggeredKind" text,
        metadata jsonb, "updatedAt" timestamptz, "closedAt" timestamptz, version int,
        "hasFills" boolean)
    -- The ids stand here once more so that the rows are looked up, not joined to the whole table.
    where p.account_id = ${accountId} and p.id = i.id
      and ${isOneOf(fragment`p.id`, ids, fragment`uuid`)}
      and p.status = 'OPEN' and p.version = i.version - 1`;
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
