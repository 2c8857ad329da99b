import type { Change, ChangeWhere } from './change.ts';
import type { TimeRange } from './keyset.ts';
import type { Order, OrderWhere } from './order.ts';
import type { LoggedPrediction, PredictionWhere } from './prediction.ts';
import type { Trade, TradeWhere } from './trade.ts';

// Whether a row passes a filter, as the database would decide. Ids are row ids; instants are texts
// of one form, so their order is that of time.

export function matchesOrder(where: OrderWhere, row: Order): boolean {
  return (
    isAmong(where.ids, row.id) &&
    isEqual(where.exchange, row.exchange) &&
    isAmong(where.symbols, row.symbol) &&
    isAmong(where.status, row.status) &&
    isEqual(where.side, row.side) &&
    isEqual(where.strategy, row.strategy) &&
    isAmong(where.clientOrderIds, row.clientOrderId) &&
    isWithin(where.createdAt, row.createdAt)
  );
}

export function matchesTrade(where: TradeWhere, row: Trade): boolean {
  return (
    isEqual(where.exchange, row.exchange) &&
    isAmong(where.symbols, row.symbol) &&
    isEqual(where.side, row.side) &&
    isEqual(where.strategy, row.strategy) &&
    isAmong(where.orderIds, row.orderId) &&
    (isAmong(where.positionIds, row.positionId) ||
      isAmong(where.positionIds, row.openedPositionId)) &&
    isWithin(where.executedAt, row.executedAt)
  );
}

export function matchesPrediction(where: PredictionWhere, row: LoggedPrediction): boolean {
  const { minConfidence, resolved } = where;
  return (
    isEqual(where.exchange, row.exchange) &&
    isAmong(where.symbols, row.symbol) &&
    isEqual(where.interval, row.interval) &&
    isAmong(where.modelVersions, row.modelVersion) &&
    isAmong(where.signal, row.signal) &&
    (!isGiven(minConfidence) || row.signalConfidence >= minConfidence) &&
    (!isGiven(resolved) || row.isPending !== resolved) &&
    isWithin(where.predictedAt, row.predictedAt)
  );
}

export function matchesChange(where: ChangeWhere, row: Change): boolean {
  const { ids, singleIds } = where;
  return (
    isAmong(where.entities, row.entity) &&
    (!ids || row.ids.some((id) => ids.includes(id))) &&
    (!singleIds || (row.count === 1 && isAmong(singleIds, row.ids[0] ?? null))) &&
    isEqual(where.actor, row.actor) &&
    isAmong(where.operations, row.operation) &&
    isWithin(where.at, row.at)
  );
}

function isGiven<Value>(value: Value | null | undefined): value is Value {
  return value !== null && value !== undefined;
}

/** An empty text asks for nothing, as in the statements. */
function isEqual(wanted: string | null | undefined, value: string | null): boolean {
  return !wanted || wanted === value;
}

function isAmong<Value extends string>(
  wanted: readonly Value[] | null | undefined,
  value: Value | null,
): boolean {
  return !wanted || (value !== null && wanted.includes(value));
}

function isWithin(range: TimeRange | null | undefined, at: string): boolean {
  return (!range?.from || at >= range.from) && (!range?.to || at < range.to);
}
