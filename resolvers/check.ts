import { quote } from '../datasources/id.ts';
import { instantOf, millisecondsOf } from '../datasources/instant.ts';
import { AppError } from '../errors.ts';

const TEXT_LENGTH_MAX = 200;
const JSON_BYTES_MAX = 16_384;
const LEVERAGE_MAX = 1000;

const EXCHANGE = /^[a-z][a-z0-9_-]{0,31}$/;
const SYMBOL = /^[A-Z0-9][A-Z0-9._:/-]{0,39}$/;
const INTERVAL = /^[1-9]\d{0,2}(?:s|m|h|d|w|mo)$/;
const EARLIEST = '2015-01-01T00:00:00.000000Z';
const AHEAD_MAX_MS = 3_600_000;

function refuse(message: string, path: readonly string[]): never {
  throw new AppError('BAD_INPUT', message, { path });
}

/** @throws AppError BAD_INPUT unless lower-case, like `bybit` */
export function assertExchange(exchange: string, path: readonly string[] = ['exchange']): void {
  if (!EXCHANGE.test(exchange)) {
    refuse(`${quote(exchange)} is not an exchange: write it like bybit, in lower case.`, path);
  }
}

/** @throws AppError BAD_INPUT unless upper-case, like `BTCUSDT` */
export function assertSymbol(symbol: string, path: readonly string[] = ['symbol']): void {
  if (!SYMBOL.test(symbol)) {
    refuse(`${quote(symbol)} is not a symbol: write it like BTCUSDT, in upper case.`, path);
  }
}

/** @throws AppError BAD_INPUT unless a count and a unit, like `15m` */
export function assertInterval(interval: string, path: readonly string[] = ['interval']): void {
  if (!INTERVAL.test(interval)) {
    refuse(`${quote(interval)} is not an interval: write it like 15m, 1h, 1d or 1mo.`, path);
  }
}

/** Amounts are in the one form of `parseDecimal`, so their sign is their first character. */
export function assertPositive(amount: string, path: readonly string[]): void {
  if (amount.startsWith('-') || amount === '0') refuse(`${amount} must be above 0.`, path);
}

export function assertNotNegative(amount: string, path: readonly string[]): void {
  if (amount.startsWith('-')) refuse(`${amount} must not be negative.`, path);
}

export function assertLeverage(leverage: string, path: readonly string[] = ['leverage']): void {
  assertPositive(leverage, path);
  if (Number(leverage) > LEVERAGE_MAX) {
    refuse(`A leverage of ${leverage} is above ${LEVERAGE_MAX}.`, path);
  }
}

/** A share: 0 to 1. */
export function assertShare(value: number, path: readonly string[]): void {
  if (!(value >= 0 && value <= 1)) refuse(`${value} must be between 0 and 1.`, path);
}

export function assertText(
  text: string | null | undefined,
  path: readonly string[],
  lengthMax: number = TEXT_LENGTH_MAX,
): void {
  if (text === null || text === undefined) return;
  if (text.length === 0 || text.length > lengthMax) {
    refuse(`A text of ${text.length} characters must have 1 to ${lengthMax}.`, path);
  }
  // PostgreSQL stores no NUL, and a line of a log must stay one line.
  if (HAS_CONTROL.test(text)) refuse('A text must not hold control characters.', path);
  if (!text.isWellFormed()) refuse('A text must not hold half of a character.', path);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for.
const HAS_CONTROL = /[\u0000-\u001f\u007f]/;

/** JSON as it is stored: at most 16 KiB, of whole characters without NUL, and finite numbers. */
export function assertJson(value: unknown, path: readonly string[]): void {
  if (value === null || value === undefined) return;
  const text = JSON.stringify(value);
  if (text.length > JSON_BYTES_MAX) {
    refuse(`A JSON value of ${text.length} characters is above ${JSON_BYTES_MAX}.`, path);
  }
  if (NO_TEXT.test(text)) {
    refuse('A JSON value must not hold NUL or half of a character.', path);
  }
  // JSON.stringify writes what is too large for a number as null.
  if (text.includes('null') && !hasFiniteNumbers(value)) {
    refuse('A JSON value must not hold numbers beyond 1.8e308.', path);
  }
}

// As JSON.stringify escapes them; a text that only looks like an escape has two backslashes.
const NO_TEXT = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/;

function hasFiniteNumbers(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || value === null) return true;
  return Object.values(value).every(hasFiniteNumbers);
}

/** A literal such as 1e400 is Infinity, which would be stored as null. */
export function assertFinite(value: number | null | undefined, path: readonly string[]): void {
  if (value !== null && value !== undefined && !Number.isFinite(value)) {
    refuse(`${value} is not a finite number.`, path);
  }
}

/** A return of 100,000,000 percent is a mistake, and its square must not be too large to sum up. */
const RETURN_MAX = 1_000_000;

/** A share: 0.01 is one percent. */
export function assertReturn(value: number | null | undefined, path: readonly string[]): void {
  assertFinite(value, path);
  if (value !== null && value !== undefined && Math.abs(value) > RETURN_MAX) {
    refuse(`${value} is no return: 0.01 is one percent.`, path);
  }
}

/** @throws AppError BAD_INPUT before 2015 or more than an hour ahead */
export function assertInstant(instant: string, path: readonly string[]): void {
  if (instant < EARLIEST) refuse(`${instant} is before ${EARLIEST}.`, path);
  if (instant > latestInstant()) {
    refuse(`${instant} is more than an hour ahead of the server's clock.`, path);
  }
}

/** Made once a millisecond: the items of a batch are all checked against it. */
let latest = { atMs: 0, instant: '' };

function latestInstant(): string {
  const atMs = Date.now();
  if (latest.atMs !== atMs) latest = { atMs, instant: instantOf(atMs + AHEAD_MAX_MS) };
  return latest.instant;
}

/** Whole milliseconds since 1970 of an accepted instant. */
export function timeOf(instant: string): number {
  return millisecondsOf(instant);
}
