import { assertMay } from '../access.ts';
import type { Context } from '../context.ts';
import type { Candle, CandleSeries } from '../datasources/candle.ts';
import { Decimal } from '../datasources/decimal.ts';
import { AppError } from '../errors.ts';
import { enterBatch } from './batch.ts';
import {
  assertExchange,
  assertInstant,
  assertInterval,
  assertNotNegative,
  assertPositive,
  assertSymbol,
} from './check.ts';

const CANDLES_MAX = 5000;

/**
 * The newest `last` candles of the range (from <= openTime < to), oldest first. A gap of the
 * exchange is a gap here.
 *
 * @throws AppError BAD_INPUT for `last` outside 1–5000; FORBIDDEN
 */
export async function candles(
  context: Context,
  input: CandleSeries & {
    range?: { from?: string | null; to?: string | null } | null;
    last?: number | null;
  },
): Promise<readonly Candle[]> {
  assertMay(context.actor, 'candles:read', null);
  const last = input.last ?? 500;
  if (last < 1 || last > CANDLES_MAX) {
    throw new AppError('BAD_INPUT', `last is ${last}; it must be 1 to ${CANDLES_MAX}.`, {
      path: ['last'],
    });
  }
  return context.datasources.candles.list(input, input.range ?? null, last);
}

/**
 * Stores candles: a new one is created, one whose values differ is updated (the last candle of a
 * series is written again until it closes). All of them or, when one is refused, none.
 *
 * @throws AppError BATCH_TOO_LARGE over 1000 items; BAD_INPUT naming the first bad item; FORBIDDEN
 */
export async function ingestCandles(
  context: Context,
  input: { items: readonly Candle[] },
): Promise<{ readonly created: number; readonly updated: number; readonly unchanged: number }> {
  assertMay(context.actor, 'candles:write', null);
  enterBatch(context.unit, 'ATOMIC', input.items);
  const seen = new Set<string>();
  for (const [index, candle] of input.items.entries()) {
    checkCandle(candle, ['input', 'items', String(index)], seen);
  }
  return context.datasources.candles.upsertMany(input.items);
}

function checkCandle(candle: Candle, path: readonly string[], seen: Set<string>): void {
  const { exchange, symbol, interval, openTime, open, high, low, close } = candle;
  assertExchange(exchange, [...path, 'exchange']);
  assertSymbol(symbol, [...path, 'symbol']);
  assertInterval(interval, [...path, 'interval']);
  assertInstant(openTime, [...path, 'openTime']);
  for (const name of PRICES) assertPositive(candle[name], [...path, name]);
  assertNotNegative(candle.volume, [...path, 'volume']);
  if (Decimal.max(open, close).gt(high)) {
    throw bad(`The high ${high} is below the open or the close.`, [...path, 'high']);
  }
  if (Decimal.min(open, close).lt(low)) {
    throw bad(`The low ${low} is above the open or the close.`, [...path, 'low']);
  }
  const key = `${exchange} ${symbol} ${interval} ${openTime}`;
  if (seen.has(key)) throw bad(`The candle ${key} stands in the batch twice.`, path);
  seen.add(key);
}

const PRICES = ['open', 'high', 'low', 'close'] as const;

function bad(message: string, path: readonly string[]): AppError {
  return new AppError('BAD_INPUT', message, { path });
}
