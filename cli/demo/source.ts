import { readReplay } from './candles.ts';
import type { Client } from './client.ts';
import { LAST_CANDLE, type LastCandleData } from './documents.ts';
import { type Instrument, MODEL_INSTRUMENTS } from './instruments.ts';
import { CANDLE_MS, generateFrames, type MarketStep, predictFrames } from './market.ts';
import type { BotSettings } from './settings.ts';

/** Where the bot's market comes from, and where its past ends and its present begins. */
export interface Source {
  /** By symbol. */
  readonly instruments: ReadonlyMap<string, Instrument>;
  /** Oldest first; without end when it is the model's. */
  readonly steps: Iterable<MarketStep>;
  /** Steps that open earlier are history: written at once, in batches. */
  readonly liveFromMs: number;
}

/** Seconds of a demo that a candle takes at speed 1. */
export const CANDLE_SECONDS = 2;
const HISTORY_MS = 2 * 24 * 3_600_000;
/** How long a fresh demo can run before its clock meets the real one. */
const DEMO_SECONDS = 4 * 3_600;
/** The server takes no earlier predictions; a day is kept off its border. */
const START_MIN_MS = Date.UTC(2015, 0, 2);

/**
 * The market of the settings, going on behind the candles that the server has already.
 *
 * The server takes no predictions of the future, and the clock of the demo runs 450 times faster
 * than the real one at speed 1. So a fresh demo begins as far in the past as DEMO_SECONDS of it
 * last (75 days at speed 1), though not before 2015.
 *
 * @throws FatalError the file of candles cannot be used
 */
export async function openSource(
  settings: BotSettings,
  client: Client,
  nowMs: number,
): Promise<Source> {
  return settings.candlesFile === null
    ? openModel(settings, client, nowMs)
    : openReplay(settings, settings.candlesFile, client);
}

/** The opening of the first candle of a fresh demo. */
export function startOf(nowMs: number, speed: number): number {
  const liveCandles = Math.ceil((DEMO_SECONDS * speed) / CANDLE_SECONDS);
  const startMs = nowMs - HISTORY_MS - liveCandles * CANDLE_MS;
  return Math.max(START_MIN_MS, startMs - (startMs % CANDLE_MS));
}

async function openModel(settings: BotSettings, client: Client, nowMs: number): Promise<Source> {
  const startPrices = new Map<string, string>();
  let lastMs = 0;
  for (const { exchange, symbol } of MODEL_INSTRUMENTS) {
    const last = await findLastCandle(client, { exchange, symbol });
    if (last !== null) {
      startPrices.set(symbol, last.close);
      lastMs = Math.max(lastMs, Date.parse(last.openTime));
    }
  }
  const instruments = new Map(MODEL_INSTRUMENTS.map((each) => [each.symbol, each]));
  // A replay leaves candles of one symbol, which the model does not go on behind.
  if (startPrices.size < MODEL_INSTRUMENTS.length) {
    const startMs = startOf(nowMs, settings.speed);
    const { seed } = settings;
    return {
      instruments,
      steps: predictFrames(generateFrames({ seed, startMs }), seed),
      liveFromMs: startMs + HISTORY_MS,
    };
  }
  const startMs = lastMs - (lastMs % CANDLE_MS) + CANDLE_MS;
  // The same seed would walk the same way again from here.
  const seed = settings.seed + startMs / CANDLE_MS;
  return {
    instruments,
    steps: predictFrames(generateFrames({ seed, startMs, startPrices }), seed),
    liveFromMs: startMs,
  };
}

async function openReplay(settings: BotSettings, file: string, client: Client): Promise<Source> {
  const { instrument, frames } = await readReplay(file, settings.symbol);
  const firstMs = frames[0]?.openTimeMs ?? 0;
  const endMs = (frames.at(-1)?.openTimeMs ?? 0) + CANDLE_MS;
  const last = await findLastCandle(client, {
    exchange: instrument.exchange,
    symbol: instrument.symbol,
    range: { from: new Date(firstMs).toISOString(), to: new Date(endMs).toISOString() },
  });
  const lastMs = last === null ? null : Date.parse(last.openTime);
  const rest = frames.filter((frame) => lastMs === null || frame.openTimeMs > lastMs);
  return {
    instruments: new Map([[instrument.symbol, instrument]]),
    steps: predictFrames(rest, settings.seed),
    liveFromMs: lastMs === null ? firstMs + HISTORY_MS : lastMs,
  };
}

async function findLastCandle(client: Client, variables: object) {
  const { candles } = await client.request<LastCandleData>(LAST_CANDLE, variables);
  return candles?.at(-1) ?? null;
}
