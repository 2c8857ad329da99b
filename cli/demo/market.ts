import { Decimal } from 'decimal.js';
import type { CandleItem, LogPredictionItem } from './inputs.ts';
import { formatSteps, MODEL_INSTRUMENTS, type ModelInstrument } from './instruments.ts';
import { createForecaster, HORIZONS } from './predictions.ts';
import { createRandom } from './random.ts';

export const CANDLE_MINUTES = 15;
export const CANDLE_MS = CANDLE_MINUTES * 60_000;
const MODEL_VERSION = 'transformer-v3';

const LOOKAHEAD_MS = Math.max(...HORIZONS.map((horizon) => horizon.minutes)) * 60_000;

/** All candles that open at one instant, one a symbol at most. */
export interface MarketFrame {
  readonly openTimeMs: number;
  readonly candles: readonly CandleItem[];
}

/** A frame and what the model says when its candles close, in the order of the candles. */
export interface MarketStep extends MarketFrame {
  readonly predictions: readonly LogPredictionItem[];
}

export interface MarketOptions {
  readonly seed: number;
  /** The opening of the first candle; a multiple of CANDLE_MS. */
  readonly startMs: number;
  /** Where prices go on from, by symbol; the model's own where there is none. */
  readonly startPrices?: ReadonlyMap<string, string>;
}

/** Regimes of volatility, entered in turn by chance; the normal one is the commonest. */
const REGIMES = [0.6, 1, 1, 2.1] as const;
const REGIME_CHANGE_CHANCE = 0.012;
/** Keeps a price near its start over years without hiding its way there. */
const PULL = 0.0004;
const MOVE_MAX = 0.2;
/** A price of fewer ticks moves in leaps that no market has. */
const TICKS_MIN = 200;

/**
 * The seeded market, oldest first and without end: returns share a common factor and a regime of
 * volatility; prices are whole ticks. Frames are lazy, and a frame costs no more than the last.
 */
export function* generateFrames(options: MarketOptions): Generator<MarketFrame, never> {
  const random = createRandom(options.seed, 'market');
  const walks = MODEL_INSTRUMENTS.map((instrument) => ({
    instrument,
    ticks: startTicks(instrument, options.startPrices?.get(instrument.symbol)),
  }));
  let regime: number = REGIMES[1];
  for (let openTimeMs = options.startMs; ; openTimeMs += CANDLE_MS) {
    if (random.next() < REGIME_CHANGE_CHANCE) {
      regime = REGIMES[Math.floor(random.next() * REGIMES.length)] ?? regime;
    }
    const common = random.normal();
    const openTime = new Date(openTimeMs).toISOString();
    const candles = walks.map((walk) => {
      const { instrument, ticks: open } = walk;
      const own = Math.sqrt(1 - instrument.beta ** 2) * random.normal();
      const deviation = instrument.volatility * regime;
      const pull = PULL * Math.min(1, instrument.startTicks / open - 1);
      const move = deviation * (instrument.beta * common + own) + pull;
      const factor = 1 + Math.max(-MOVE_MAX, Math.min(MOVE_MAX, move));
      const close = Math.max(TICKS_MIN, Math.round(open * factor));
      const wick = () => Math.round(open * deviation * 0.4 * Math.abs(random.normal()));
      const volume = instrument.volumeSteps * regime * (0.4 + 0.6 * random.next());
      walk.ticks = close;
      const price = (ticks: number) => formatSteps(ticks, instrument.priceDigits);
      return {
        exchange: instrument.exchange,
        symbol: instrument.symbol,
        interval: '15m',
        openTime,
        open: price(open),
        high: price(Math.max(open, close) + wick()),
        low: price(Math.max(1, Math.min(open, close) - wick())),
        close: price(close),
        volume: formatSteps(
          Math.round(volume * (0.7 + (0.3 * Math.abs(move)) / deviation)),
          instrument.quantityDigits,
        ),
      };
    });
    yield { openTimeMs, candles };
  }
}

/**
 * Frames with their predictions, in the order of the frames. It reads 12 hours ahead of the frame
 * it yields, because the skill of the predictions is made from the true future; at the end of
 * finite frames the unknown future is guessed.
 */
export function* predictFrames(
  frames: Iterable<MarketFrame>,
  seed: number,
): Generator<MarketStep, void> {
  const forecaster = createForecaster(seed, MODEL_VERSION);
  const closes = new Map<number, ReadonlyMap<string, number>>();
  const waiting: MarketFrame[] = [];
  const predict = (frame: MarketFrame): MarketStep => {
    const predictions = frame.candles.map((candle) => {
      const close = Number(candle.close);
      const futureReturns = HORIZONS.map(({ minutes }) => {
        const future = closes.get(frame.openTimeMs + minutes * 60_000)?.get(candle.symbol);
        return future === undefined ? null : future / close - 1;
      });
      return forecaster.predict(candle, frame.openTimeMs + CANDLE_MS, futureReturns);
    });
    closes.delete(frame.openTimeMs);
    return { ...frame, predictions };
  };
  for (const frame of frames) {
    closes.set(
      frame.openTimeMs,
      new Map(frame.candles.map((candle) => [candle.symbol, Number(candle.close)])),
    );
    waiting.push(frame);
    for (
      let first = waiting[0];
      first !== undefined && frame.openTimeMs - first.openTimeMs >= LOOKAHEAD_MS;
      first = waiting[0]
    ) {
      waiting.shift();
      yield predict(first);
    }
  }
  for (const frame of waiting) {
    yield predict(frame);
  }
}

/** Inputs for `ingestCandles`: `count` candles, by time, then in the order of the instruments. */
export function* makeCandles(options: MarketOptions & CountOption): Generator<CandleItem, void> {
  let left = options.count;
  for (const frame of generateFrames(options)) {
    for (const candle of frame.candles) {
      if (left <= 0) {
        return;
      }
      left -= 1;
      yield candle;
    }
  }
}

/**
 * Inputs for `logPredictions`: `count` predictions, by time, then in the order of the instruments.
 * They belong to the candles that `makeCandles` yields for the same seed and start.
 */
export function* makePredictions(
  options: MarketOptions & CountOption,
): Generator<LogPredictionItem, void> {
  let left = options.count;
  for (const step of predictFrames(generateFrames(options), options.seed)) {
    for (const prediction of step.predictions) {
      if (left <= 0) {
        return;
      }
      left -= 1;
      yield prediction;
    }
  }
}

interface CountOption {
  readonly count: number;
}

function startTicks(instrument: ModelInstrument, price: string | undefined): number {
  if (price === undefined) {
    return instrument.startTicks;
  }
  const ticks = new Decimal(price).times(new Decimal(10).pow(instrument.priceDigits));
  return Math.max(TICKS_MIN, ticks.round().toNumber());
}
