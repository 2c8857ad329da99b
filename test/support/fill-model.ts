/**
 * What fills make of orders and positions, a second time and in another way: whole numbers of
 * 10^-18 and BigInt division. It shares nothing with the code it judges.
 */

export const UNIT: bigint = 10n ** 18n;

export interface ModelFill {
  readonly order: number;
  readonly price: bigint;
  readonly quantity: bigint;
  readonly fee: bigint;
}

export interface ModelOrder {
  readonly side: 'BUY' | 'SELL';
  readonly positionSide: 'LONG' | 'SHORT';
  readonly quantity: bigint;
  readonly reduceOnly: boolean;
  /** Closed at the exchange before its fills arrive; REJECTED has none. */
  status: 'PENDING' | 'PARTIALLY_FILLED' | 'FILLED' | 'CANCELED' | 'REJECTED' | 'EXPIRED';
  filled: bigint;
  average: bigint;
}

export interface ModelPosition {
  readonly side: 'LONG' | 'SHORT';
  quantity: bigint;
  entry: bigint;
  pnl: bigint;
  fees: bigint;
}

/** The account of one instrument. */
export interface ModelAccount {
  readonly isHedged: boolean;
  readonly orders: readonly ModelOrder[];
  /** Every position there has been, oldest first. */
  readonly positions: ModelPosition[];
}

export interface ModelOutcome {
  readonly code: string | null;
  readonly pnl: bigint;
}

/** Rounds to the nearest whole number; of two equally near the even one. */
function divide(dividend: bigint, divisor: bigint): bigint {
  if (divisor < 0n) return divide(-dividend, -divisor);
  const floor = dividend / divisor - (dividend % divisor < 0n ? 1n : 0n);
  const twice = 2n * (dividend - floor * divisor);
  if (twice < divisor) return floor;
  if (twice > divisor) return floor + 1n;
  return floor % 2n === 0n ? floor : floor + 1n;
}

/** Books a fill; a refused one changes nothing. */
export function bookFill(account: ModelAccount, fill: ModelFill): ModelOutcome {
  const order = account.orders[fill.order];
  if (order === undefined) return { code: 'NOT_FOUND', pnl: 0n };
  if (order.status === 'REJECTED') return { code: 'ORDER_REJECTED', pnl: 0n };
  if (order.filled + fill.quantity > order.quantity) return { code: 'EXCEEDS_ORDER', pnl: 0n };
  const code = refusalOf(account, order, fill.quantity);
  if (code !== null) return { code, pnl: 0n };
  const pnl = moveExposure(account, order, fill);
  order.average = divide(
    order.average * order.filled + fill.price * fill.quantity,
    order.filled + fill.quantity,
  );
  order.filled += fill.quantity;
  if (order.filled === order.quantity) order.status = 'FILLED';
  else if (order.status === 'PENDING') order.status = 'PARTIALLY_FILLED';
  return { code: null, pnl };
}

export function openPosition(
  account: ModelAccount,
  side: 'LONG' | 'SHORT',
): ModelPosition | undefined {
  return account.positions.find((one) => one.side === side && one.quantity > 0n);
}

function refusalOf(account: ModelAccount, order: ModelOrder, quantity: bigint): string | null {
  const opposite = order.side === 'BUY' ? 'SHORT' : 'LONG';
  const mustReduce = order.reduceOnly || (account.isHedged && order.positionSide === opposite);
  if (!mustReduce) return null;
  const held = openPosition(account, opposite)?.quantity ?? 0n;
  if (held === 0n) return 'NOTHING_TO_REDUCE';
  return quantity > held ? 'EXCEEDS_POSITION' : null;
}

/** The exposure moves unit by unit in thought: first what is against it goes, then the rest adds. */
function moveExposure(account: ModelAccount, order: ModelOrder, fill: ModelFill): bigint {
  const direction = order.side === 'BUY' ? 'LONG' : 'SHORT';
  const opposite = order.side === 'BUY' ? 'SHORT' : 'LONG';
  const against =
    account.isHedged && order.positionSide === direction
      ? undefined
      : openPosition(account, opposite);
  const held = against?.quantity ?? 0n;
  const closing = held < fill.quantity ? held : fill.quantity;
  const opening = fill.quantity - closing;
  const closingFee = divide(fill.fee * closing, fill.quantity);
  let pnl = 0n;
  if (against !== undefined) {
    const gain = (fill.price - against.entry) * (against.side === 'LONG' ? 1n : -1n);
    pnl = divide(gain * closing, UNIT);
    against.quantity -= closing;
    against.pnl += pnl;
    against.fees += closingFee;
  }
  if (opening > 0n) {
    const fee = fill.fee - closingFee;
    const same = openPosition(account, direction);
    if (same === undefined) {
      const opened = { side: direction, quantity: opening, entry: fill.price, pnl: 0n, fees: fee };
      account.positions.push(opened as ModelPosition);
    } else {
      const cost = same.entry * same.quantity + fill.price * opening;
      same.quantity += opening;
      same.entry = divide(cost, same.quantity);
      same.fees += fee;
    }
  }
  return pnl;
}

/** `1500000000000000000n` as `1.5`. */
export function textOf(amount: bigint): string {
  const digits = (amount < 0n ? -amount : amount).toString().padStart(19, '0');
  const fraction = digits.slice(-18).replace(/0+$/, '');
  const text = fraction === '' ? digits.slice(0, -18) : `${digits.slice(0, -18)}.${fraction}`;
  return amount < 0n ? `-${text}` : text;
}
