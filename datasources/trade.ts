import { type ChangeRecorder, recordInserts } from './change-recorder.ts';
import type { HeldWrites } from './held-writes.ts';
import { createKeyset, type ListBounds, type TimeRange, within } from './keyset.ts';
import { fragment, isOneOf, type SqlStatement } from './sql.ts';

export type OrderSide = 'BUY' | 'SELL';

/** One execution: a fill of an order, or the open or close of a position that has none. */
export interface Trade {
  readonly accountId: string;
  readonly id: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: OrderSide;
  readonly price: string;
  readonly quantity: string;
  readonly commission: string;
  readonly commissionAsset: string | null;
  readonly realizedPnl: string;
  readonly exchangeTradeId: string | null;
  readonly strategy: string | null;
  readonly executedAt: string;
  readonly orderId: string | null;
  readonly positionId: string;
  readonly openedPositionId: string | null;
}

/** A trade as it is written: what a repeat of its item is recognized by comes along. */
export interface NewTrade extends Trade {
  readonly clientId: string | null;
  readonly itemHash: string | null;
}

/** The trade that an earlier item under this client id wrote. */
export interface KnownTrade {
  readonly clientId: string;
  readonly itemHash: string | null;
  readonly positionId: string;
}

export interface TradeWhere {
  readonly exchange?: string | null;
  readonly symbols?: readonly string[] | null;
  readonly side?: OrderSide | null;
  readonly strategy?: string | null;
  readonly orderIds?: readonly string[] | null;
  /** Of positions moved, and of those opened by a flip. */
  readonly positionIds?: readonly string[] | null;
  /** from <= executedAt < to */
  readonly executedAt?: TimeRange | null;
}

/** The natural key of a fill: its order says the exchange and the symbol. */
export interface FillKey {
  readonly orderId: string;
  readonly exchangeTradeId: string;
}

const columns = fragment`
  t.account_id, t.id, t.exchange, t.symbol, t.side, trim_scale(t.price) as price,
  trim_scale(t.quantity) as quantity, trim_scale(t.commission) as commission,
  t.commission_asset, trim_scale(t.realized_pnl) as realized_pnl, t.exchange_trade_id,
  t.strategy, t.executed_at, t.order_id, t.position_id, t.opened_position_id`;

export function createTradeRepository(held: HeldWrites, recorder: ChangeRecorder) {
  const { sql } = held;
  const pages = createKeyset<Trade, TradeWhere>(sql, {
    names: {
      findByIds: fragment`/* trades.findByIds */`,
      list: fragment`/* trades.list */`,
      count: fragment`/* trades.count */`,
    },
    table: fragment`trades t`,
    columns,
    conditions: tradeConditions,
  });
  return {
    ...pages,

    /** The fills of each of these orders: the newest `each`, oldest first; `all` at most. */
    async listByOrders(
      accountId: string,
      orderIds: readonly string[],
      { each, all }: ListBounds,
    ): Promise<readonly Trade[]> {
      return sql<Trade>`
        /* trades.listByOrders */
        select found.* from (
          select newest.* from unnest(${orderIds}::uuid[]) as parent (id)
          cross join lateral (
            select ${columns} from trades t
            where t.account_id = ${accountId} and t.order_id = parent.id
            order by t.id desc limit ${each}) as newest
          limit ${all}) as found
        order by found.id`;
    },

    /**
     * The trades that moved or opened each of these positions: the newest `each`, oldest first;
     * `all` at most.
     */
    async listByPositions(
      accountId: string,
      positionIds: readonly string[],
      { each, all }: ListBounds,
    ): Promise<readonly { readonly parentId: string; readonly trade: Trade }[]> {
      const rows = await sql<Trade & { readonly parentId: string }>`
        /* trades.listByPositions */
        select found.* from (
          select newest.* from unnest(${positionIds}::uuid[]) as parent (id)
          cross join lateral (
            select parent.id as parent_id, both_kinds.* from (
              (select ${columns} from trades t
               where t.account_id = ${accountId} and t.position_id = parent.id
               order by t.id desc limit ${each})
              union all
              (select ${columns} from trades t
               where t.account_id = ${accountId} and t.opened_position_id = parent.id
               order by t.id desc limit ${each})) as both_kinds
            order by both_kinds.id desc limit ${each}) as newest
          limit ${all}) as found
        order by found.id`;
      return rows.map(({ parentId, ...trade }) => ({ parentId, trade }));
    },

    /** The trades under these natural keys with the hashes of their items, in no order. */
    async findByFillKeys(
      accountId: string,
      keys: readonly FillKey[],
    ): Promise<readonly NewTrade[]> {
      return sql<NewTrade>`
        /* trades.findByFillKeys */
        select known.* from unnest(
          ${keys.map((key) => key.orderId)}::uuid[],
          ${keys.map((key) => key.exchangeTradeId)}::text[]) as key (order_id, exchange_trade_id)
        cross join lateral (
          select ${columns}, t.client_id, encode(t.item_hash, 'hex') as item_hash from trades t
          where t.account_id = ${accountId} and t.order_id = key.order_id
            and t.exchange_trade_id = key.exchange_trade_id
          -- Looks each key up, however small the planner takes the table to be.
          limit 1) as known`;
    },

    /** What was written under these client ids, in no order. */
    async findByClientIds(
      accountId: string,
      clientIds: readonly string[],
    ): Promise<readonly KnownTrade[]> {
      return sql<KnownTrade>`
        /* trades.findByClientIds */
        select client_id, encode(item_hash, 'hex') as item_hash, position_id from trades
        where account_id = ${accountId} and client_id = any(${clientIds}::text[])`;
    },

    /** Inserts and records each. The position of each is locked or new in this unit. */
    async insertMany(accountId: string, trades: readonly NewTrade[]): Promise<void> {
      await held.insertTrades(accountId, trades);
      recordInserts(recorder, accountId, 'trade', trades.map(toTrade));
    },
  };
}

export function toTrade({ clientId: _clientId, itemHash: _itemHash, ...trade }: NewTrade): Trade {
  return trade;
}

export function insertTrades(
  accountId: string,
  trades: readonly NewTrade[],
): SqlStatement<unknown> {
  return fragment`
    insert into trades (
      account_id, id, exchange, symbol, side, price, quantity, commission, commission_asset,
      realized_pnl, exchange_trade_id, strategy, executed_at, order_id, position_id,
      opened_position_id, client_id, item_hash)
    select ${accountId}, i.id, i.exchange, i.symbol, i.side, i.price, i.quantity,
      i.commission, i."commissionAsset", i."realizedPnl", i."exchangeTradeId", i.strategy,
      i."executedAt", i."orderId", i."positionId", i."openedPositionId", i."clientId",
      decode(i."itemHash", 'hex')
    from json_to_recordset(${JSON.stringify(trades)}::text::json) as i (
      id uuid, exchange text, symbol text, side text, price numeric, quantity numeric,
      commission numeric, "commissionAsset" text, "realizedPnl" numeric,
      "exchangeTradeId" text, strategy text, "executedAt" timestamptz, "orderId" uuid,
      "positionId" uuid, "openedPositionId" uuid, "clientId" text, "itemHash" text)
    order by i.id`;
}

/** What a row of `trades` has to match; columns are not qualified. */
export function tradeConditions(where: TradeWhere): SqlStatement<unknown> {
  const { positionIds } = where;
  return fragment`
    ${where.exchange ? fragment`and exchange = ${where.exchange}` : fragment``}
    ${where.symbols ? fragment`and ${isOneOf(fragment`symbol`, where.symbols, fragment`text`)}` : fragment``}
    ${where.side ? fragment`and side = ${where.side}` : fragment``}
    ${where.strategy ? fragment`and strategy = ${where.strategy}` : fragment``}
    ${where.orderIds ? fragment`and order_id = any(${where.orderIds}::uuid[])` : fragment``}
    ${
      positionIds
        ? fragment`and (position_id = any(${positionIds}::uuid[])
            or opened_position_id = any(${positionIds}::uuid[]))`
        : fragment``
    }
    ${within(fragment`executed_at`, where.executedAt)}`;
}
