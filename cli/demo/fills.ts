import { Decimal, toAmount } from '../../datasources/decimal.ts';
import type { OrderSide, RecordTradeItem } from './inputs.ts';
import { type Instrument, tickOf } from './instruments.ts';

/** What a taker pays, as a share of the notional. */
const TAKER_FEE = '0.00055';

/** One execution as the exchange would tell it. */
export interface Execution {
  readonly clientOrderId: string;
  /** The place of the fill among those of its order, from 1. */
  readonly part: number;
  readonly price: string;
  readonly quantity: string;
  readonly executedAtMs: number;
}

/** The fill of an execution. Its commission is price · quantity · TAKER_FEE, exactly. */
export function fillOf(execution: Execution, { symbol }: Instrument): RecordTradeItem {
  const { clientOrderId, part, price, quantity, executedAtMs } = execution;
  return {
    clientOrderId,
    exchangeTradeId: `${clientOrderId}.${part}`,
    price,
    quantity,
    commission: toAmount(new Decimal(price).times(quantity).times(TAKER_FEE)),
    ...(symbol.endsWith('USDT') ? { commissionAsset: 'USDT' } : {}),
    executedAt: new Date(executedAtMs).toISOString(),
  };
}

/** The quantity in two parts of whole steps, the first about `share` of it; or whole. */
export function splitQuantity(
  quantity: string,
  share: number,
  { quantityDigits }: Instrument,
): readonly string[] {
  const first = new Decimal(quantity)
    .times(share)
    .toDecimalPlaces(quantityDigits, Decimal.ROUND_DOWN);
  const rest = new Decimal(quantity).minus(first);
  return first.isZero() || rest.isZero() ? [quantity] : [first.toFixed(), rest.toFixed()];
}

/** The price so many ticks to the worse for whoever takes it, at least one tick. */
export function slip(price: string, side: OrderSide, ticks: number, on: Instrument): string {
  const tick = tickOf(on);
  const moved = new Decimal(price).plus(tick.times(side === 'BUY' ? ticks : -ticks));
  return Decimal.max(moved, tick).toFixed(on.priceDigits);
}
