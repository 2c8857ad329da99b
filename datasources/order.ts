import {
  type ChangeRecorder,
  recordInserts,
  recordUpdates,
  type TradingState,
  type Update,
} from './change-recorder.ts';
import type { HeldOrder, HeldWrites } from './held-writes.ts';
import { createKeyset, type ListBounds, type TimeRange, within } from './keyset.ts';
import { toOrder } from './order-rows.ts';
import { INSTRUMENT_KEY, lockInstruments, type PositionSide } from './position.ts';
import { fragment, isOneOf, type SqlStatement } from './sql.ts';
import type { OrderSide } from './trade.ts';

export type OrderType =
  | 'MARKET'
  | 'LIMIT'
  | 'STOP_MARKET'
  | 'STOP_LIMIT'
  | 'TAKE_PROFIT_MARKET'
  | 'TAKE_PROFIT_LIMIT'
  | 'TRAILING_STOP';
export type TimeInForce = 'GTC' | 'IOC' | 'FOK' | 'GTX' | 'GTD';
export type OrderStatus =
  | 'PENDING'
  | 'OPEN'
  | 'PARTIALLY_FILLED'
  | 'FILLED'
  | 'CANCELED'
  | 'REJECTED'
  | 'EXPIRED';

/** An instruction. It is also the document that stands before and after in the change log. */
export interface Order {
  readonly accountId: string;
  readonly id: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: OrderSide;
  readonly type: OrderType;
  readonly timeInForce: TimeInForce;
  readonly status: OrderStatus;
  readonly price: string | null;
  readonly stopPrice: string | null;
  readonly quantity: string;
  readonly filledQuantity: string;
  readonly averagePrice: string | null;
  readonly stopLossPrice: string | null;
  readonly takeProfitPrice: string | null;
  readonly trailBy: string | null;
  readonly leverage: string;
  readonly reduceOnly: boolean;
  readonly positionSide: PositionSide;
  readonly expiresAt: string | null;
  readonly clientOrderId: string;
  readonly exchangeOrderId: string | null;
  readonly strategy: string | null;
  readonly reason: string | null;
  readonly metadata: unknown;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly closedAt: string | null;
  readonly version: number;
  /** The position that its last fill moved or opened; null before the first. */
  readonly positionId: string | null;
}

/** An order as it is placed: what a repeat of its item is recognized by comes along. */
export interface NewOrder extends Order {
  readonly itemHash: string;
}

export interface OrderWhere {
  readonly ids?: readonly string[] | null;
  readonly exchange?: string | null;
  readonly symbols?: readonly string[] | null;
  readonly status?: readonly OrderStatus[] | null;
  readonly side?: OrderSide | null;
  readonly strategy?: string | null;
  readonly clientOrderIds?: readonly string[] | null;
  /** from <= createdAt < to */
  readonly createdAt?: TimeRange | null;
}

/** An instrument as operators registered it; null: not said. */
export interface Registration {
  readonly exchange: string;
  readonly symbol: string;
  readonly tickSize: string | null;
  readonly stepSize: string | null;
  readonly quoteAsset: string | null;
}

/** What the placing of orders is judged by. */
export interface PlacingRules {
  readonly hedgeMode: boolean;
  readonly tradingState: TradingState;
  readonly registrations: readonly Registration[];
}

/** A locked order with what its fills are judged by. */
export interface FillableOrder {
  readonly order: Order;
  readonly hedgeMode: boolean;
  readonly quoteAsset: string | null;
}

const columns = fragment`
  o.account_id, o.id, o.exchange, o.symbol, o.side, o.type, o.time_in_force, o.status,
  trim_scale(o.price) as price, trim_scale(o.stop_price) as stop_price,
  trim_scale(o.quantity) as quantity, trim_scale(o.filled_quantity) as filled_quantity,
  trim_scale(o.average_price) as average_price,
  trim_scale(o.stop_loss_price) as stop_loss_price,
  trim_scale(o.take_profit_price) as take_profit_price, trim_scale(o.trail_by) as trail_by,
  trim_scale(o.leverage) as leverage, o.reduce_only, o.position_side, o.expires_at,
  o.client_order_id, o.exchange_order_id, o.strategy, o.reason, o.metadata, o.created_at,
  o.updated_at, o.closed_at, o.version, o.position_id`;

export function createOrderRepository(held: HeldWrites, recorder: ChangeRecorder) {
  const { sql } = held;
  /** What `findPlacingRules` has found, for the fills of orders that it was asked for. */
  const judged = new Map<string, Omit<FillableOrder, 'order'>>();
  const pages = createKeyset<Order, OrderWhere>(sql, {
    names: {
      findByIds: fragment`/* orders.findByIds */`,
      list: fragment`/* orders.list */`,
      count: fragment`/* orders.count */`,
    },
    table: fragment`orders o`,
    columns,
    conditions: orderConditions,
  });
  return {
    ...pages,

    /**
     * The orders whose fills moved each of these positions: the newest `each`, oldest first; `all`
     * at most.
     */
    async listByPositions(
      accountId: string,
      positionIds: readonly string[],
      { each, all }: ListBounds,
    ): Promise<readonly { readonly parentId: string; readonly order: Order }[]> {
      const rows = await sql<Order & { readonly parentId: string }>`
        /* orders.listByPositions */
        select found.* from (
          select newest.* from unnest(${positionIds}::uuid[]) as parent (id)
          cross join lateral (
            select parent.id as parent_id, ${columns} from orders o
            where o.account_id = ${accountId} and o.id in (
              select order_id from trades
              where account_id = ${accountId} and position_id = parent.id
              union all
              select order_id from trades
              where account_id = ${accountId} and opened_position_id = parent.id)
            order by o.id desc limit ${each}) as newest
          limit ${all}) as found
        order by found.id`;
      return rows.map(({ parentId, ...order }) => ({ parentId, order }));
    },

    /**
     * What orders of these instruments are judged by; null where there is no such account. There may
     * be registrations of other instruments among them.
     */
    async findPlacingRules(
      accountId: string,
      instruments: readonly { readonly exchange: string; readonly symbol: string }[],
    ): Promise<PlacingRules | null> {
      const rows = await held.direct<
        Pick<PlacingRules, 'hedgeMode' | 'tradingState'> & {
          readonly [Column in keyof Registration]: Registration[Column] | null;
        }
      >`
        /* orders.findPlacingRules */
        select a.hedge_mode, h.trading_state, i.exchange, i.symbol,
          trim_scale(i.tick_size) as tick_size, trim_scale(i.step_size) as step_size,
          i.quote_asset
        from accounts a join account_heads h on h.account_id = a.id
        left join instruments i
          on i.exchange = any(${[...new Set(instruments.map((one) => one.exchange))]}::text[])
          and i.symbol = any(${instruments.map((one) => one.symbol)}::text[])
        where a.id = ${accountId}`;
      const [first] = rows;
      if (first === undefined) return null;
      const registrations = rows.flatMap(({ exchange, symbol, tickSize, stepSize, quoteAsset }) =>
        exchange === null || symbol === null
          ? []
          : [{ exchange, symbol, tickSize, stepSize, quoteAsset }],
      );
      const { hedgeMode } = first;
      const quoteAssets = new Map(registrations.map((one) => [instrumentOf(one), one.quoteAsset]));
      for (const name of instruments.map(instrumentOf)) {
        judged.set(`${accountId} ${name}`, {
          hedgeMode,
          quoteAsset: quoteAssets.get(name) ?? null,
        });
      }
      // Set by an earlier field of the same operation, it is not in the table yet.
      const tradingState = recorder.ownTradingState(accountId) ?? first.tradingState;
      return { hedgeMode, tradingState, registrations };
    },

    /** The orders under these client ids with the hashes of their items, in no order. */
    async findByClientOrderIds(
      accountId: string,
      clientOrderIds: readonly string[],
    ): Promise<readonly NewOrder[]> {
      const rows = await held.direct<NewOrder>`
        /* orders.findByClientOrderIds */
        select ${columns}, encode(o.item_hash, 'hex') as item_hash from orders o
        where o.account_id = ${accountId}
          and ${isOneOf(fragment`o.client_order_id`, clientOrderIds, fragment`text`)}`;
      return withHeld(rows, held.orders(accountId), clientOrderIds);
    },

    /**
     * The rows with these ids and client ids, locked in id order until the unit ends, so that two
     * batches over the same rows wait for each other and never deadlock.
     */
    async lock(
      accountId: string,
      ids: readonly string[],
      clientOrderIds: readonly string[],
    ): Promise<readonly Order[]> {
      const known = heldByName(held.orders(accountId), ids, clientOrderIds);
      if (known !== null) return known;
      return held.reading<Order>`
        /* orders.lock */
        select ${columns} from orders o
        where o.account_id = ${accountId} and ${named(ids, clientOrderIds)}
        order by o.id for no key update of o`;
    },

    /**
     * Like `lock`, with what fills are judged by; then it waits for the instruments of the orders
     * as `positions.lockInstruments` does.
     */
    async lockForFills(
      accountId: string,
      ids: readonly string[],
      clientOrderIds: readonly string[],
    ): Promise<readonly FillableOrder[]> {
      const known = heldByName(held.orders(accountId), ids, clientOrderIds);
      const fillable = known?.map((order) => {
        const rules = judged.get(`${accountId} ${instrumentOf(order)}`);
        return rules === undefined ? null : { order, ...rules };
      });
      if (fillable?.every((one) => one !== null)) {
        // What is sent after it sees what was committed while it waited, and fails when it does.
        lockInstruments(held.locking, accountId, known ?? []).catch(ignore);
        return fillable;
      }
      const rows = await held.reading<Order & Omit<FillableOrder, 'order'>>`
        /* orders.lockForFills */
        with locked as materialized (
          select ${columns}, a.hedge_mode, i.quote_asset
          from orders o join accounts a on a.id = o.account_id
          left join instruments i on i.exchange = o.exchange and i.symbol = o.symbol
          where o.account_id = ${accountId} and ${named(ids, clientOrderIds)}
          order by o.id for no key update of o
        ), instruments_locked as materialized (
          select pg_advisory_xact_lock(key) from (
            select distinct ${INSTRUMENT_KEY} as key from locked order by key) as keys
        )
        select * from locked where (select count(*) from instruments_locked) > 0`;
      return rows.map(({ hedgeMode, quoteAsset, ...order }) => ({ order, hedgeMode, quoteAsset }));
    },

    /** The open orders that match, at most `limit`, locked in id order until the unit ends. */
    async lockOpen(accountId: string, where: OrderWhere, limit: number): Promise<readonly Order[]> {
      return held.reading<Order>`
        /* orders.lockOpen */
        select ${columns} from orders o
        where account_id = ${accountId} and status in ('PENDING', 'OPEN', 'PARTIALLY_FILLED')
          ${orderConditions(where)}
        order by id limit ${limit} for no key update`;
    },

    /** Inserts orders whose client ids are not used yet, and records each. */
    async insertMany(accountId: string, orders: readonly NewOrder[]): Promise<void> {
      await held.insertOrders(accountId, orders);
      recordInserts(recorder, accountId, 'order', orders.map(toOrder));
    },

    /**
     * Writes the next state of rows that this unit has locked and records each. `next.version` is
     * the version it becomes. The statement itself refuses a move against the state machine.
     */
    async updateMany(accountId: string, updates: readonly Update<Order>[]): Promise<void> {
      await held.updateOrders(accountId, updates);
      recordUpdates(recorder, accountId, 'order', updates);
    },
  };
}

function instrumentOf({ exchange, symbol }: Pick<Order, 'exchange' | 'symbol'>): string {
  return `${exchange} ${symbol}`;
}

/** The rows that the unit holds under these names, in id order; null unless all are among them. */
function heldByName(
  held: Iterable<HeldOrder>,
  ids: readonly string[],
  clientOrderIds: readonly string[],
): readonly Order[] | null {
  const byId = new Map<string, Order>();
  const byClientId = new Map<string, Order>();
  for (const { order } of held) {
    byId.set(order.id, order);
    byClientId.set(order.clientOrderId, order);
  }
  if (byId.size === 0) return null;
  const found = new Map<string, Order>();
  const rows = [
    ...ids.map((id) => byId.get(id)),
    ...clientOrderIds.map((id) => byClientId.get(id)),
  ];
  for (const row of rows) {
    if (row === undefined) return null;
    found.set(row.id, row);
  }
  return [...found.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
}

/** Orders under these client ids as they will be once what the unit holds is written. */
function withHeld(
  stored: readonly NewOrder[],
  held: Iterable<HeldOrder>,
  clientOrderIds: readonly string[],
): readonly NewOrder[] {
  const rows = new Map(stored.map((row) => [row.id, row]));
  const names = new Set(clientOrderIds);
  for (const { order, itemHash } of held) {
    const hash = itemHash ?? rows.get(order.id)?.itemHash;
    if (hash !== undefined && names.has(order.clientOrderId)) {
      rows.set(order.id, { ...order, itemHash: hash });
    }
  }
  return [...rows.values()];
}

function named(ids: readonly string[], clientOrderIds: readonly string[]): SqlStatement<unknown> {
  const byId = isOneOf(fragment`o.id`, ids, fragment`uuid`);
  if (clientOrderIds.length === 0) return byId;
  const byName = isOneOf(fragment`o.client_order_id`, clientOrderIds, fragment`text`);
  return ids.length === 0 ? byName : fragment`(${byId} or ${byName})`;
}

function orderConditions(where: OrderWhere): SqlStatement<unknown> {
  return fragment`
    ${where.ids ? fragment`and id = any(${where.ids}::uuid[])` : fragment``}
    ${where.exchange ? fragment`and exchange = ${where.exchange}` : fragment``}
    ${where.symbols ? fragment`and ${isOneOf(fragment`symbol`, where.symbols, fragment`text`)}` : fragment``}
    ${where.status ? fragment`and status = any(${where.status}::text[])` : fragment``}
    ${where.side ? fragment`and side = ${where.side}` : fragment``}
    ${where.strategy ? fragment`and strategy = ${where.strategy}` : fragment``}
    ${
      where.clientOrderIds
        ? fragment`and client_order_id = any(${where.clientOrderIds}::text[])`
        : fragment``
    }
    ${within(fragment`created_at`, where.createdAt)}`;
}

function ignore(): void {
  // Every later statement of the transaction fails for the same reason.
}
