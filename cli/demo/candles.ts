import { readFile } from 'node:fs/promises';
import { Decimal } from 'decimal.js';
import { FatalError } from '../../errors.ts';
import type { CandleItem } from './inputs.ts';
import type { Instrument } from './instruments.ts';
import { CANDLE_MINUTES, CANDLE_MS, type MarketFrame } from './market.ts';

/** Real candles, made 15-minute frames. */
export interface Replay {
  readonly instrument: Instrument;
  /** Oldest first; a quarter of an hour without candles has no frame. */
  readonly frames: readonly MarketFrame[];
}

const SHAPE = '[[openTimeMs, open, high, low, close, volume], …], oldest first';
/** The server takes no predictions of earlier times. */
const OPEN_TIME_MIN_MS = Date.UTC(2015, 0, 1);
const EXCHANGE = 'bybit';
const QUANTITY_DIGITS_MAX = 8;
/** Of a price and a quantity together: with the 5 of the fee's rate they fit into 18. */
const DIGITS_MAX = 13;
const PRICES = ['open', 'high', 'low', 'close'] as const;

/**
 * Reads candles of 15 minutes or less from a JSON file. Numbers are taken as they are written, and
 * may be strings. Nothing is filled in: where the file has a gap, the frames have it too.
 *
 * @throws FatalError naming the file, the row (the first is 0), what was found and what was needed
 */
export async function readReplay(file: string, symbol: string): Promise<Replay> {
  const rows = parseRows(file, await readText(file));
  const frames = new Map<number, Row>();
  for (const row of rows) {
    const openTimeMs = row.openTimeMs - (row.openTimeMs % CANDLE_MS);
    const before = frames.get(openTimeMs);
    frames.set(openTimeMs, before === undefined ? { ...row, openTimeMs } : merge(before, row));
  }
  const digits = rows.map((row) => Math.max(...PRICES.map((name) => row[name].decimalPlaces())));
  const priceDigits = digits.reduce((most, each) => Math.max(most, each));
  return {
    instrument: {
      exchange: EXCHANGE,
      symbol,
      priceDigits,
      quantityDigits: Math.max(0, Math.min(QUANTITY_DIGITS_MAX, DIGITS_MAX - priceDigits)),
    },
    frames: [...frames.values()].map((row) => toFrame(symbol, row)),
  };
}

interface Row {
  readonly openTimeMs: number;
  readonly open: Decimal;
  readonly high: Decimal;
  readonly low: Decimal;
  readonly close: Decimal;
  readonly volume: Decimal;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new FatalError(`The candles cannot be read: ${reason}.`, { cause: error });
  }
}

function parseRows(file: string, text: string): Row[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new FatalError(`${file} is not JSON; needed ${SHAPE}.`, { cause: error });
  }
  if (!Array.isArray(parsed) || parsed.length === 0) {
    throw new FatalError(`${file} holds no candles; needed ${SHAPE}.`);
  }
  const rows: Row[] = [];
  let smallestStepMs = Number.POSITIVE_INFINITY;
  for (const [index, value] of parsed.entries()) {
    const row = parseRow(value);
    if (typeof row === 'string') {
      throw new FatalError(`${file}, row ${index}: ${row}; needed ${SHAPE}.`);
    }
    const stepMs = row.openTimeMs - (rows.at(-1)?.openTimeMs ?? Number.NEGATIVE_INFINITY);
    if (stepMs <= 0) {
      throw new FatalError(`${file}, row ${index}: not later than the row before it.`);
    }
    smallestStepMs = Math.min(smallestStepMs, stepMs);
    rows.push(row);
  }
  if (rows.length > 1 && smallestStepMs > CANDLE_MS) {
    const minutes = smallestStepMs / 60_000;
    throw new FatalError(
      `${file}: its candles are ${minutes} minutes apart; needed ${CANDLE_MINUTES} or less.`,
    );
  }
  return rows;
}

/** The row, or what is wrong with it. */
function parseRow(value: unknown): Row | string {
  if (!Array.isArray(value) || value.length < 6) {
    return 'not a list of 6 numbers';
  }
  const openTimeMs: unknown = value[0];
  if (typeof openTimeMs !== 'number' || !Number.isSafeInteger(openTimeMs)) {
    return 'openTimeMs is not a whole number';
  }
  if (openTimeMs < OPEN_TIME_MIN_MS || openTimeMs > Date.now()) {
    return 'openTimeMs is not between 2015 and now in milliseconds';
  }
  const [open, high, low, close, volume] = value.slice(1, 6).map(toDecimal);
  if (!open || !high || !low || !close || !volume) {
    return 'a price or the volume is not a number';
  }
  if (!low.greaterThan(0) || volume.lessThan(0)) {
    return 'a price is not above 0, or the volume is below it';
  }
  if (high.lessThan(Decimal.max(open, close)) || low.greaterThan(Decimal.min(open, close))) {
    return 'open and close do not lie between low and high';
  }
  return { openTimeMs, open, high, low, close, volume };
}

function toDecimal(value: unknown): Decimal | null {
  if (typeof value !== 'number' && typeof value !== 'string') {
    return null;
  }
  try {
    const decimal = new Decimal(value);
    return decimal.isFinite() ? decimal : null;
  } catch {
    // Decimal throws on text that is no number; the caller says so with the row.
    return null;
  }
}

function merge(before: Row, row: Row): Row {
  return {
    openTimeMs: before.openTimeMs,
    open: before.open,
    high: Decimal.max(before.high, row.high),
    low: Decimal.min(before.low, row.low),
    close: row.close,
    volume: before.volume.plus(row.volume),
  };
}

function toFrame(symbol: string, row: Row): MarketFrame {
  const candle: CandleItem = {
    exchange: EXCHANGE,
    symbol,
    interval: '15m',
    openTime: new Date(row.openTimeMs).toISOString(),
    open: row.open.toFixed(),
    high: row.high.toFixed(),
    low: row.low.toFixed(),
    close: row.close.toFixed(),
    volume: row.volume.toFixed(),
  };
  return { openTimeMs: row.openTimeMs, candles: [candle] };
}
