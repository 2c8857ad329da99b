import { Decimal } from '../datasources/decimal.ts';
import type { PositionSide } from '../datasources/position.ts';
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
