import type { Update } from './change-recorder.ts';
import type { NewOrder, Order } from './order.ts';
import { fragment, isOneOf, type SqlStatement } from './sql.ts';

/** The INSERT of orders whose client ids are not used yet: it passes over those that are. */
export function insertOrders(
  accountId: string,
  orders: readonly NewOrder[],
): SqlStatement<unknown> {
  return fragment`
    insert into orders (
      account_id, id, exchange, symbol, side, type, time_in_force, status, price, stop_price,
      quantity, filled_quantity, average_price, stop_loss_price, take_profit_price, trail_by,
      leverage, reduce_only, position_side, expires_at, client_order_id, exchange_order_id,
      strategy, reason, metadata, created_at, updated_at, closed_at, version, position_id,
      item_hash)
    select ${accountId}, i.id, i.exchange, i.symbol, i.side, i.type, i."timeInForce",
      i.status, i.price, i."stopPrice", i.quantity, i."filledQuantity", i."averagePrice",
      i."stopLossPrice", i."takeProfitPrice", i."trailBy", i.leverage, i."reduceOnly",
      i."positionSide", i."expiresAt", i."clientOrderId", i."exchangeOrderId", i.strategy,
      i.reason, i.metadata, i."createdAt", i."updatedAt", i."closedAt", i.version,
      i."positionId", decode(i."itemHash", 'hex')
    from json_to_recordset(${JSON.stringify(orders)}::text::json) as i (
      id uuid, exchange text, symbol text, side text, type text, "timeInForce" text,
      status text, price numeric, "stopPrice" numeric, quantity numeric,
      "filledQuantity" numeric, "averagePrice" numeric, "stopLossPrice" numeric,
      "takeProfitPrice" numeric, "trailBy" numeric, leverage numeric, "reduceOnly" boolean,
      "positionSide" text, "expiresAt" timestamptz, "clientOrderId" text,
      "exchangeOrderId" text, strategy text, reason text, metadata jsonb,
      "createdAt" timestamptz, "updatedAt" timestamptz, "closedAt" timestamptz, version int,
      "positionId" uuid, "itemHash" text)
    order by i."clientOrderId"
    on conflict (account_id, client_order_id) do nothing`;
}

/** The guarded UPDATE of locked rows. */
export function updateOrders(
  accountId: string,
  updates: readonly Update<Order>[],
): SqlStatement<unknown> {
  const ids = updates.map(({ next }) => next.id);
  return fragment`
    update orders as o
    set status = i.status, price = i.price, stop_price = i."stopPrice", quantity = i.quantity,
      filled_quantity = i."filledQuantity", average_price = i."averagePrice",
      stop_loss_price = i."stopLossPrice", take_profit_price = i."takeProfitPrice",
      exchange_order_id = i."exchangeOrderId", reason = i.reason, metadata = i.metadata,
      updated_at = i."updatedAt", closed_at = i."closedAt", version = i.version,
      position_id = i."positionId"
    from json_to_recordset(${JSON.stringify(updates.map((update) => update.next))}::text::json)
      as i (
        id uuid, status text, price numeric, "stopPrice" numeric, quantity numeric,
        "filledQuantity" numeric, "averagePrice" numeric, "stopLossPrice" numeric,
        "takeProfitPrice" numeric, "exchangeOrderId" text, reason text, metadata jsonb,
        "updatedAt" timestamptz, "closedAt" timestamptz, version int, "positionId" uuid)
    -- The ids stand here once more so that the rows are looked up, not joined to the whole table.
    where o.account_id = ${accountId} and o.id = i.id
      and ${isOneOf(fragment`o.id`, ids, fragment`uuid`)}
      and o.version = i.version - 1 and order_may_become(o.status, i.status)`;
}

/** An order without what only its INSERT takes. */
export function toOrder({ itemHash: _itemHash, ...order }: NewOrder): Order {
  return order;
}
