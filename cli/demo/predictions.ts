import type {
  CandleItem,
  Direction,
  Indicators,
  LogPredictionItem,
  PredictionHorizonItem,
} from './inputs.ts';
import { createRandom, type Random } from './random.ts';

/** A return beyond ±threshold is LONG or SHORT, within it NEUTRAL. */
export const HORIZONS = [
  { minutes: 15, threshold: 0.0015 },
  { minutes: 60, threshold: 0.003 },
  { minutes: 240, threshold: 0.007 },
  { minutes: 720, threshold: 0.01 },
] as const;

export type Horizon = (typeof HORIZONS)[number];

/**
 * A confidence is FLOOR + SPAN·u² with u uniform: mean FLOOR + SPAN / 3 = 0.47, which is the hit
 * rate, because a prediction is made right with the probability that it claims.
 */
const CONFIDENCE_FLOOR = 0.34;
const CONFIDENCE_SPAN = 0.39;

/** Turns candles into predictions; keeps running indicators, so candles come oldest first. */
export interface Forecaster {
  /**
   * What it says when the candle closes. `futureReturns`: the actual return over each of HORIZONS,
   * null where nobody knows it.
   */
  predict(
    candle: CandleItem,
    closesAtMs: number,
    futureReturns: readonly (number | null)[],
  ): LogPredictionItem;
}

/**
 * A model that has seen the answers and gets them wrong as often as it says it does:
 * P(correct | confidence c) = c for every horizon, about 47 % over all.
 */
export function createForecaster(seed: number, modelVersion: string): Forecaster {
  const random = createRandom(seed, 'predictions');
  const gauges = new Map<string, Gauge>();
  return {
    predict(candle, closesAtMs, futureReturns) {
      const gauge = gauges.get(candle.symbol) ?? createGauge(Number(candle.open));
      gauges.set(candle.symbol, gauge);
      readCandle(gauge, candle);
      const horizons = HORIZONS.map((horizon, index) =>
        predictHorizon(random, horizon, futureReturns[index] ?? null),
      );
      const strongest = horizons.reduce((best, each) =>
        each.confidence > best.confidence ? each : best,
      );
      const indicators = indicatorsOf(gauge);
      return {
        exchange: candle.exchange,
        symbol: candle.symbol,
        interval: candle.interval,
        modelVersion,
        predictedAt: new Date(closesAtMs).toISOString(),
        price: candle.close,
        signal: strongest.direction,
        signalConfidence: strongest.confidence,
        riskScore: round(Math.min(1, indicators.rangeRatio * 80 + 0.1 * random.next()), 4),
        inferenceTimeMs: round(9 + 6 * random.next() + 2 * Math.abs(random.normal()), 2),
        features: featuresOf(gauge, indicators),
        indicators,
        horizons,
      };
    },
  };
}

/** What a return over a horizon counts as. */
export function directionOf(horizon: Horizon, actualReturn: number): Direction {
  if (actualReturn > horizon.threshold) {
    return 'LONG';
  }
  return actualReturn < -horizon.threshold ? 'SHORT' : 'NEUTRAL';
}

function predictHorizon(
  random: Random,
  horizon: Horizon,
  actualReturn: number | null,
): PredictionHorizonItem {
  const actual =
    actualReturn === null ? guessDirection(random) : directionOf(horizon, actualReturn);
  const confidence = round(CONFIDENCE_FLOOR + CONFIDENCE_SPAN * random.next() ** 2, 4);
  const isCorrect = random.next() < confidence;
  const direction = isCorrect ? actual : mistake(random, actual);
  // Neither of the others may be likelier than the prediction itself.
  const rest = 1 - confidence;
  const least = Math.max(0.25 * rest, rest - confidence);
  const second = round(least + (rest - 2 * least) * random.next(), 4);
  const third = round(rest - second, 4);
  return {
    horizonMinutes: horizon.minutes,
    direction,
    confidence,
    ...spread(direction, confidence, second, third),
    predictedReturn: predictReturn(random, horizon, direction, isCorrect ? actualReturn : null),
  };
}

/** A direction for a future that nobody knows, with the shares the model has in the long run. */
function guessDirection(random: Random): Direction {
  const draw = random.next();
  if (draw < 0.27) {
    return 'LONG';
  }
  return draw < 0.54 ? 'SHORT' : 'NEUTRAL';
}

/** One of the two wrong directions; the opposite is a rarer mistake than the neighbour. */
function mistake(random: Random, actual: Direction): Direction {
  const draw = random.next();
  if (actual === 'NEUTRAL') {
    return draw < 0.5 ? 'LONG' : 'SHORT';
  }
  if (draw < 0.6) {
    return 'NEUTRAL';
  }
  return actual === 'LONG' ? 'SHORT' : 'LONG';
}

function spread(direction: Direction, confidence: number, second: number, third: number) {
  switch (direction) {
    case 'LONG':
      return {
        probabilityLong: confidence,
        probabilityShort: second,
        probabilityNeutral: third,
      };
    case 'SHORT':
      return {
        probabilityLong: second,
        probabilityShort: confidence,
        probabilityNeutral: third,
      };
    default:
      return {
        probabilityLong: second,
        probabilityShort: third,
        probabilityNeutral: confidence,
      };
  }
}

/** A return on the side that was predicted; nearer to the actual one when the side is right. */
function predictReturn(
  random: Random,
  { threshold }: Horizon,
  direction: Direction,
  actualReturn: number | null,
): number {
  const noise = random.normal();
  if (direction === 'NEUTRAL') {
    const centre = 0.5 * (actualReturn ?? 0) + 0.35 * threshold * noise;
    return round(Math.max(-0.95 * threshold, Math.min(0.95 * threshold, centre)), 6);
  }
  const size = threshold * (1.1 + 0.7 * Math.abs(noise));
  const known = actualReturn === null ? size : 0.5 * size + 0.5 * Math.abs(actualReturn);
  const signed = Math.max(1.02 * threshold, known);
  return round(direction === 'LONG' ? signed : -signed, 6);
}

/** Running means of one symbol. */
interface Gauge {
  readonly closes: number[];
  fast: number;
  slow: number;
  gain: number;
  loss: number;
  range: number;
  volume: number;
  volumeRatio: number;
}

const CLOSES_KEPT = 17;
const SMOOTHING = 1 / 14;

function createGauge(price: number): Gauge {
  return {
    closes: [price],
    fast: price,
    slow: price,
    gain: price * 0.001,
    loss: price * 0.001,
    range: price * 0.004,
    volume: 0,
    volumeRatio: 1,
  };
}

function readCandle(gauge: Gauge, candle: CandleItem): void {
  const close = Number(candle.close);
  const volume = Number(candle.volume);
  const move = close - (gauge.closes.at(-1) ?? close);
  gauge.closes.push(close);
  if (gauge.closes.length > CLOSES_KEPT) {
    gauge.closes.shift();
  }
  gauge.fast += (close - gauge.fast) * (2 / 13);
  gauge.slow += (close - gauge.slow) * (2 / 27);
  gauge.gain += (Math.max(move, 0) - gauge.gain) * SMOOTHING;
  gauge.loss += (Math.max(-move, 0) - gauge.loss) * SMOOTHING;
  gauge.range += (Number(candle.high) - Number(candle.low) - gauge.range) * SMOOTHING;
  gauge.volumeRatio = gauge.volume === 0 ? 1 : volume / gauge.volume;
  gauge.volume = gauge.volume === 0 ? volume : gauge.volume + (volume - gauge.volume) * SMOOTHING;
}

function indicatorsOf(gauge: Gauge): Indicators {
  const close = gauge.closes.at(-1) ?? gauge.slow;
  const moves = gauge.gain + gauge.loss;
  return {
    rsi: round(moves === 0 ? 50 : (100 * gauge.gain) / moves, 2),
    rangeRatio: round(gauge.range / close, 6),
    trend: round((gauge.fast - gauge.slow) / close, 6),
  };
}

function featuresOf(gauge: Gauge, indicators: Indicators): number[] {
  const close = gauge.closes.at(-1) ?? gauge.slow;
  const returnOver = (candles: number) =>
    round(close / (gauge.closes.at(-1 - candles) ?? gauge.closes[0] ?? close) - 1, 6);
  return [
    returnOver(1),
    returnOver(4),
    returnOver(16),
    round(indicators.rsi / 100, 4),
    indicators.rangeRatio,
    indicators.trend,
    round(gauge.volumeRatio, 4),
  ];
}

function round(value: number, digits: number): number {
  const scale = 10 ** digits;
  // Adding 0 turns -0, which JSON cannot say, into 0.
  return Math.round(value * scale) / scale + 0;
}
