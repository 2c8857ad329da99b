import type { Update } from './change-recorder.ts';
import type { NewPosition, Position } from './position.ts';
import { fragment, isOneOf, type SqlStatement } from './sql.ts';

/** A position without what only its INSERT takes. */
export function toPosition({
  clientId: _clientId,
  itemHash: _itemHash,
  ...position
}: NewPosition): Position {
  return position;
}

/** The INSERT of rows that are not there yet, once `condition` holds: it passes over those that are. */
export function insertPositions(
  accountId: string,
  positions: readonly NewPosition[],
  condition: SqlStatement<unknown> = fragment`true`,
): SqlStatement<unknown> {
  return fragment`
    insert into positions (
      account_id, id, exchange, symbol, side, status, quantity, entry_price, stop_loss_price,
      take_profit_price, leverage, realized_pnl, fees, strategy, close_reason,
      stop_triggered_at, stop_triggered_kind, metadata, opened_at, updated_at, closed_at,
      version, client_id, item_hash, has_fills)
    select ${accountId}, i.id, i.exchange, i.symbol, i.side, i.status, i.quantity,
      i."entryPrice", i."stopLossPrice", i."takeProfitPrice", i.leverage, i."realizedPnl",
      i.fees, i.strategy, i."closeReason", i."stopTriggeredAt", i."stopTriggeredKind",
      i.metadata, i."openedAt", i."updatedAt", i."closedAt", i.version, i."clientId",
      decode(i."itemHash", 'hex'), i."hasFills"
    from json_to_recordset(${JSON.stringify(positions)}::text::json) as i (
      id uuid, exchange text, symbol text, side text, status text, quantity numeric,
      "entryPrice" numeric, "stopLossPrice" numeric, "takeProfitPrice" numeric,
      leverage numeric, "realizedPnl" numeric, fees numeric, strategy text,
      "closeReason" text, "stopTriggeredAt" timestamptz, "stopTriggeredKind" text,
      metadata jsonb, "openedAt" timestamptz, "updatedAt" timestamptz,
      "closedAt" timestamptz, version int, "clientId" text, "itemHash" text, "hasFills" boolean)
    where ${condition}
    order by i.exchange, i.symbol, i.side
    on conflict do nothing`;
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
