import { Decimal as DecimalJs } from 'decimal.js';

/** Exact arithmetic outside SQL: 60 digits, half-even, never in exponent form. */
export const Decimal = DecimalJs.clone({
  precision: 60,
  rounding: DecimalJs.ROUND_HALF_EVEN,
  toExpNeg: -100,
  toExpPos: 100,
});

const PLAIN = /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?$/;
const INTEGER_DIGITS_MAX = 20;
const FRACTION_DIGITS_MAX = 18;

/**
 * A number in its shortest exact form (`1e-18` → `0.000000000000000001`, `1.50` → `1.5`), or null
 * where the text is no number or needs more than 20 integer or 18 fraction digits: nothing is
 * rounded.
 */
export function parseDecimal(text: string): string | null {
  if (text.length > 128) return null;
  const plain = PLAIN.test(text) ? text : expand(text);
  if (plain === null) return null;
  const short = withoutTrailingZeros(plain);
  const point = short.indexOf('.');
  const sign = short.startsWith('-') ? 1 : 0;
  const integerDigits = (point === -1 ? short.length : point) - sign;
  const fractionDigits = point === -1 ? 0 : short.length - point - 1;
  if (integerDigits > INTEGER_DIGITS_MAX || fractionDigits > FRACTION_DIGITS_MAX) return null;
  return short;
}

function expand(text: string): string | null {
  if (!NUMBER.test(text)) return null;
  const value = new Exact(text);
  return value.isZero() ? '0' : value.toFixed();
}

// Reading must not round, so it has the digits of the longest text that is accepted.
const Exact = DecimalJs.clone({ precision: 200, toExpNeg: -9e15, toExpPos: 9e15 });

function withoutTrailingZeros(text: string): string {
  if (!text.includes('.')) return text === '-0' ? '0' : text;
  let end = text.length;
  while (text.charCodeAt(end - 1) === 48) end -= 1;
  if (text.charCodeAt(end - 1) === 46) end -= 1;
  const short = text.slice(0, end);
  return short === '-0' ? '0' : short;
}

/** An amount and its weight, both decimals of at most 18 fraction digits, in plain form. */
export interface Weighted {
  readonly amount: string;
  readonly weight: string;
}

/**
 * (amount₁ · weight₁ + amount₂ · weight₂) / (weight₁ + weight₂), rounded once: half-even to 18
 * digits, in its shortest form. In integers, which are exact and a tenth of the time of a division
 * with 60 digits. The weights are not negative, and one of them is more than 0.
 */
export function weightedAverage(first: Weighted, second: Weighted): string {
  const [one, other] = [unitsOf(first.weight), unitsOf(second.weight)];
  const total = unitsOf(first.amount) * one + unitsOf(second.amount) * other;
  return fromUnits(divideHalfEven(total, one + other));
}

/** How many 1e-18 a decimal is. */
function unitsOf(decimal: string): bigint {
  const point = decimal.indexOf('.');
  const fraction = point === -1 ? 0 : decimal.length - point - 1;
  if (fraction > FRACTION_DIGITS_MAX) throw new Error(`${decimal} has too many digits`);
  const digits = point === -1 ? decimal : decimal.slice(0, point) + decimal.slice(point + 1);
  return BigInt(digits + '0'.repeat(FRACTION_DIGITS_MAX - fraction));
}

function fromUnits(units: bigint): string {
  const digits = String(units < 0n ? -units : units).padStart(FRACTION_DIGITS_MAX + 1, '0');
  const point = digits.length - FRACTION_DIGITS_MAX;
  const plain = `${digits.slice(0, point)}.${digits.slice(point)}`;
  return withoutTrailingZeros(units < 0n ? `-${plain}` : plain);
}

/** By a divisor of more than 0. */
function divideHalfEven(dividend: bigint, divisor: bigint): bigint {
  const magnitude = dividend < 0n ? -dividend : dividend;
  const quotient = magnitude / divisor;
  const twice = (magnitude % divisor) * 2n;
  const isUp = twice > divisor || (twice === divisor && quotient % 2n === 1n);
  const rounded = isUp ? quotient + 1n : quotient;
  return dividend < 0n ? -rounded : rounded;
}

/** A computed amount as it is stored: rounded half-even to 18 digits, in its shortest form. */
export function toAmount(value: DecimalJs): string {
  const rounded = value.toDecimalPlaces(FRACTION_DIGITS_MAX);
  return rounded.isZero() ? '0' : rounded.toFixed();
}
