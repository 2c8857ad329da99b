import { Decimal, toAmount, weightedAverage } from '../datasources/decimal.ts';
import { uuidOf } from '../datasources/id.ts';
import type { Order, OrderStatus } from '../datasources/order.ts';
import type { Position, PositionSide } from '../datasources/position.ts';
import { AppError } from '../errors.ts';
import { examine, ItemRefusal } from './batch.ts';
import { timeOf } from './check.ts';
import { armed, assertStops, type Stops } from './stop.ts';

/** One execution as the exchange told it. */
export interface Fill extends Stops {
  readonly price: string;
  readonly quantity: string;
  /** The part of its commission that counts as the position's fees: in quote currency. */
  readonly fee: string;
  readonly executedAt: string;
}

/** The open positions of one instrument. */
export type Book = { readonly [Side in PositionSide]: Position | null };

export interface FoldSettings {
  readonly hedgeMode: boolean;
  /** The instant of the unit of work. */
  readonly at: string;
  /** The newest price of the instrument, null without one: what stops are judged by. */
  readonly mark: string | null;
}

/** What a fill makes of its order and of the book. */
export interface Folded {
  readonly order: Order;
  readonly book: Book;
  /** What it reduced, closed or added to; else what it opened. */
  readonly position: Position;
  /** The other side of a flip. */
  readonly openedPosition: Position | null;
  readonly realizedPnl: string;
  readonly warnings: readonly string[];
}

/** Where the database ends: numeric(38,18) has 20 digits before the point. */
const AMOUNT_LIMIT = new Decimal('1e20');

/**
 * Books one fill, in memory: the order's filled quantity, average price and state, and the position
 * that it opens, adds to, reduces, closes or flips. Averages and profits are rounded half-even to
 * 18 digits at each fill. A stop that cannot stand is dropped with a warning.
 *
 * @throws ItemRefusal for what cannot have been a fill of this order
 */
export function foldFill(order: Order, book: Book, fill: Fill, settings: FoldSettings): Folded {
  const direction: PositionSide = order.side === 'BUY' ? 'LONG' : 'SHORT';
  const filled = fillOrder(order, fill, settings.at);
  const reduced = reducedSide(order, book, direction, settings.hedgeMode);
  const moved =
    reduced === null
      ? increase(filled, book, direction, fill, settings)
      : reduce(filled, book, reduced, fill, settings);
  const last = moved.openedPosition ?? moved.position;
  return { ...moved, order: { ...filled, positionId: last.id } };
}

/** The side that the fill reduces; null: it opens or adds. */
function reducedSide(
  order: Order,
  book: Book,
  direction: PositionSide,
  hedgeMode: boolean,
): PositionSide | null {
  const opposite = direction === 'LONG' ? 'SHORT' : 'LONG';
  if (hedgeMode ? order.positionSide === opposite : book[opposite] !== null) return opposite;
  if (!order.reduceOnly) return null;
  throw nothingToReduce(order);
}

function nothingToReduce(order: Order): ItemRefusal {
  return new ItemRefusal(
    'CONFLICT',
    'NOTHING_TO_REDUCE',
    `No position of ${order.symbol} is open that this ${order.side} order could reduce.`,
  );
}

function fillOrder(order: Order, fill: Fill, at: string): Order {
  if (order.status === 'REJECTED') {
    throw new ItemRefusal('CONFLICT', 'ORDER_REJECTED', 'The order was REJECTED: it has no fills.');
  }
  const before = new Decimal(order.filledQuantity);
  const after = before.plus(fill.quantity);
  const left = after.cmp(order.quantity);
  if (left > 0) {
    throw new ItemRefusal(
      'CONFLICT',
      'EXCEEDS_ORDER',
      `${order.filledQuantity} of ${order.quantity} are filled already: ` +
        `${fill.quantity} more are too many.`,
      ['quantity'],
    );
  }
  const status = statusAfterFill(order.status, left === 0);
  return {
    ...order,
    status,
    filledQuantity: toAmount(after),
    averagePrice: average(order.filledQuantity, order.averagePrice ?? '0', fill),
    closedAt: status === 'PARTIALLY_FILLED' ? null : (order.closedAt ?? at),
  };
}

function statusAfterFill(status: OrderStatus, isFull: boolean): OrderStatus {
  if (isFull) return 'FILLED';
  // A late fill is booked; the order stays closed.
  return status === 'CANCELED' || status === 'EXPIRED' ? status : 'PARTIALLY_FILLED';
}

type Moved = Omit<Folded, 'order'>;

/** Adds to the open position of this side, or opens it. */
function increase(
  order: Order,
  book: Book,
  side: PositionSide,
  fill: Fill,
  settings: FoldSettings,
): Moved {
  const current = book[side];
  const added = current === null ? opened(order, side, fill, settings.at) : addTo(current, fill);
  const stops = current === null ? stopsOf(order, fill) : fill;
  const { position, warnings } = withStops(added, stops, settings.mark);
  return {
    book: { ...book, [side]: position },
    position,
    openedPosition: null,
    realizedPnl: '0',
    warnings,
  };
}

/** Reduces or closes the position of this side; what is left opens the other one. */
function reduce(
  order: Order,
  book: Book,
  side: PositionSide,
  fill: Fill,
  settings: FoldSettings,
): Moved {
  const current = book[side];
  if (current === null) throw nothingToReduce(order);
  const rest = new Decimal(fill.quantity).minus(current.quantity);
  if (rest.gt(0)) {
    return flip(order, book, current, { ...fill, quantity: toAmount(rest) }, fill, settings);
  }
  const { reduced, realizedPnl } = takeFrom(order, current, fill);
  const isClosed = reduced.status === 'CLOSED';
  const { position, warnings } = isClosed
    ? { position: reduced, warnings: droppedWithPosition(fill) }
    : withStops(reduced, fill, settings.mark);
  return {
    book: { ...book, [side]: isClosed ? null : position },
    position,
    openedPosition: null,
    realizedPnl,
    warnings,
  };
}

/** Closes the position and opens the other side with the rest; the fee is shared by quantity. */
function flip(
  order: Order,
  book: Book,
  current: Position,
  rest: Fill,
  fill: Fill,
  settings: FoldSettings,
): Moved {
  if (settings.hedgeMode || order.reduceOnly) {
    throw new ItemRefusal(
      'CONFLICT',
      'EXCEEDS_POSITION',
      `Only ${current.quantity} of the ${current.side} position are open, and a fill of this ` +
        'order opens nothing.',
      ['quantity'],
    );
  }
  const fee = toAmount(new Decimal(fill.fee).times(current.quantity).div(fill.quantity));
  const closing = { ...fill, quantity: current.quantity, fee };
  const opening = { ...rest, fee: toAmount(new Decimal(fill.fee).minus(fee)) };
  const { reduced, realizedPnl } = takeFrom(order, current, closing);
  const side = current.side === 'LONG' ? 'SHORT' : 'LONG';
  const next = opened(order, side, opening, settings.at);
  const { position, warnings } = withStops(next, stopsOf(order, fill), settings.mark);
  return {
    book: { ...book, [current.side]: null, [side]: position },
    position: reduced,
    openedPosition: position,
    realizedPnl,
    warnings,
  };
}

function opened(order: Order, side: PositionSide, fill: Fill, at: string): Position {
  return {
    accountId: order.accountId,
    id: uuidOf(timeOf(fill.executedAt)),
    exchange: order.exchange,
    symbol: order.symbol,
    side,
    status: 'OPEN',
    quantity: fill.quantity,
    entryPrice: fill.price,
    stopLossPrice: null,
    takeProfitPrice: null,
    leverage: order.leverage,
    realizedPnl: '0',
    fees: fill.fee,
    strategy: order.strategy,
    closeReason: null,
    stopTriggeredAt: null,
    stopTriggeredKind: null,
    metadata: null,
    openedAt: fill.executedAt,
    updatedAt: at,
    closedAt: null,
    version: 1,
    hasFills: true,
  };
}

function addTo(current: Position, fill: Fill): Position {
  return {
    ...current,
    quantity: bounded(new Decimal(current.quantity).plus(fill.quantity)),
    entryPrice: average(current.quantity, current.entryPrice, fill),
    fees: bounded(new Decimal(current.fees).plus(fill.fee)),
    hasFills: true,
  };
}

/** Never more than there is: `fill.quantity` is at most the position's. */
function takeFrom(
  order: Order,
  current: Position,
  fill: Fill,
): { readonly reduced: Position; readonly realizedPnl: string } {
  const gain = new Decimal(fill.price).minus(current.entryPrice).times(fill.quantity);
  const realizedPnl = bounded(current.side === 'LONG' ? gain : gain.negated());
  const quantity = new Decimal(current.quantity).minus(fill.quantity);
  const isClosed = quantity.isZero();
  // Fills may be told out of order; a position does not close before it was opened.
  const closedAt = fill.executedAt > current.openedAt ? fill.executedAt : current.openedAt;
  const reduced: Position = {
    ...current,
    status: isClosed ? 'CLOSED' : 'OPEN',
    quantity: toAmount(quantity),
    realizedPnl: bounded(new Decimal(current.realizedPnl).plus(realizedPnl)),
    fees: bounded(new Decimal(current.fees).plus(fill.fee)),
    closeReason: isClosed ? order.reason : current.closeReason,
    closedAt: isClosed ? closedAt : null,
    hasFills: true,
  };
  return { reduced, realizedPnl };
}

/** The price of a quantity after a fill. */
function average(quantity: string, price: string, fill: Pick<Fill, 'quantity' | 'price'>): string {
  return weightedAverage(
    { amount: price, weight: quantity },
    { amount: fill.price, weight: fill.quantity },
  );
}

/** @throws AppError BAD_INPUT for an amount that cannot be stored */
export function bounded(value: InstanceType<typeof Decimal>): string {
  if (value.abs().lt(AMOUNT_LIMIT)) return toAmount(value);
  throw new AppError('BAD_INPUT', 'With this an amount would have more than 20 integer digits.', {
    path: ['quantity'],
  });
}

/** What a position is opened with: the fill's own stops, else those of its order. */
function stopsOf(order: Order, fill: Fill): Stops {
  return {
    stopLossPrice: fill.stopLossPrice ?? order.stopLossPrice,
    takeProfitPrice: fill.takeProfitPrice ?? order.takeProfitPrice,
  };
}

/** The position with the stops that can stand; null leaves one as it is. */
function withStops(
  position: Position,
  { stopLossPrice, takeProfitPrice }: Stops,
  mark: string | null,
): { readonly position: Position; readonly warnings: readonly string[] } {
  const warnings: string[] = [];
  const price = mark ?? position.entryPrice;
  let next = position;
  for (const stops of [
    { stopLossPrice, takeProfitPrice: null },
    { stopLossPrice: null, takeProfitPrice },
  ]) {
    const refusal = examine(() => assertStops(position.side, stops, price));
    if (refusal instanceof ItemRefusal) {
      warnings.push(`STOP_DROPPED: ${refusal.message}`);
      continue;
    }
    next = armed(next, {
      stopLossPrice: stops.stopLossPrice ?? next.stopLossPrice,
      takeProfitPrice: stops.takeProfitPrice ?? next.takeProfitPrice,
    });
  }
  return { position: next, warnings };
}

function droppedWithPosition({ stopLossPrice, takeProfitPrice }: Stops): readonly string[] {
  if (stopLossPrice === null && takeProfitPrice === null) return [];
  return ['STOP_DROPPED: The fill closed the position, so there is nothing to stop.'];
}
