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

/** A computed amount as it is stored: rounded half-even to 18 digits, in its shortest form. */
export function toAmount(value: DecimalJs): string {
  const rounded = value.toDecimalPlaces(FRACTION_DIGITS_MAX);
  return rounded.isZero() ? '0' : rounded.toFixed();
}
