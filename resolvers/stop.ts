import { Decimal } from '../datasources/decimal.ts';
import type { Position, PositionSide } from '../datasources/position.ts';
import { assertPositive } from './check.ts';
import { ItemRefusal } from './batch.ts';

export interface Stops {
  readonly stopLossPrice: string | null;
  readonly takeProfitPrice: string | null;
}

/**
 * LONG needs stopLossPrice < price < takeProfitPrice, SHORT the reverse. The price is the mark,
 * else the entry: a stop may lock in a profit, but none may be crossed when it is set.
 *
 * @throws ItemRefusal STOP_ON_WRONG_SIDE; AppError BAD_INPUT for a stop that is not above 0
 */
export function assertStops(side: PositionSide, stops: Stops, price: string): void {
  const { stopLossPrice, takeProfitPrice } = stops;
  if (stopLossPrice !== null) {
    assertPositive(stopLossPrice, ['stopLossPrice']);
    assertSide(side === 'LONG', 'stopLossPrice', stopLossPrice, side, price);
  }
  if (takeProfitPrice !== null) {
    assertPositive(takeProfitPrice, ['takeProfitPrice']);
    assertSide(side === 'SHORT', 'takeProfitPrice', takeProfitPrice, side, price);
  }
}

function assertSide(
  isBelow: boolean,
  name: keyof Stops,
  stop: string,
  side: PositionSide,
  price: string,
): void {
  const difference = new Decimal(stop).cmp(price);
  if (isBelow ? difference < 0 : difference > 0) return;
  throw new ItemRefusal(
    'REJECTED',
    'STOP_ON_WRONG_SIDE',
    `The ${name} ${stop} of a ${side} position must be ${isBelow ? 'below' : 'above'} ${price}.`,
    [name],
  );
}

/** The position with these stops: changing the one that was crossed arms it again. */
export function armed(current: Position, { stopLossPrice, takeProfitPrice }: Stops): Position {
  const next = { ...current, stopLossPrice, takeProfitPrice };
  return isRearmed(current, next)
    ? { ...next, stopTriggeredAt: null, stopTriggeredKind: null }
    : next;
}

/** Changing the other one does not. */
function isRearmed(current: Position, next: Stops): boolean {
  switch (current.stopTriggeredKind) {
    case 'STOP_LOSS':
      return next.stopLossPrice !== current.stopLossPrice;
    case 'TAKE_PROFIT':
      return next.takeProfitPrice !== current.takeProfitPrice;
    case null:
      return false;
  }
}
