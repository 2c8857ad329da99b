import { Decimal } from 'decimal.js';
import { describe, expect, it } from 'vitest';
import type { LogPredictionItem } from '../../../../cli/demo/inputs.ts';
import { formatSteps, MODEL_INSTRUMENTS } from '../../../../cli/demo/instruments.ts';
import {
  CANDLE_MS,
  generateFrames,
  makeCandles,
  makePredictions,
  type MarketFrame,
  predictFrames,
} from '../../../../cli/demo/market.ts';
import { directionOf, HORIZONS } from '../../../../cli/demo/predictions.ts';

const startMs = Date.UTC(2025, 0, 1);
const symbols = MODEL_INSTRUMENTS.length;

describe('makeCandles', () => {
  const candles = [...makeCandles({ seed: 1, startMs, count: 2_000 * symbols })];

  it('gives the same candles for the same seed and others for another', () => {
    const few = (seed: number) => [...makeCandles({ seed, startMs, count: 40 })];
    expect(few(1)).toEqual(candles.slice(0, 40));
    expect(few(2)).not.toEqual(candles.slice(0, 40));
  });

  it('keeps open and close between low and high, and every price above 0', () => {
    const wrong = candles.filter(({ open, high, low, close }) => {
      const body = [new Decimal(open), new Decimal(close)];
      return (
        Decimal.max(...body).gt(high) || Decimal.min(...body).lt(low) || !new Decimal(low).gt(0)
      );
    });
    expect(wrong).toEqual([]);
  });

  it('opens each candle where the last one of its symbol closed, 15 minutes later', () => {
    for (const [index, candle] of candles.entries()) {
      const before = candles[index - symbols];
      if (before !== undefined) {
        expect(candle.open).toBe(before.close);
        expect(Date.parse(candle.openTime) - Date.parse(before.openTime)).toBe(CANDLE_MS);
      }
    }
  });

  it('writes prices in whole ticks and volumes in whole steps', () => {
    for (const { symbol, priceDigits, quantityDigits } of MODEL_INSTRUMENTS) {
      const own = candles.filter((candle) => candle.symbol === symbol);
      const decimals = (text: string) => text.split('.')[1]?.length ?? 0;
      expect(new Set(own.map((candle) => decimals(candle.close)))).toEqual(new Set([priceDigits]));
      expect(new Set(own.map((candle) => decimals(candle.volume)))).toEqual(
        new Set([quantityDigits]),
      );
    }
  });

  it('moves the symbols together', () => {
    const returnsOf = (symbol: string) =>
      candles
        .filter((candle) => candle.symbol === symbol)
        .map((candle) => Number(candle.close) / Number(candle.open) - 1);
    expect(correlation(returnsOf('BTCUSDT'), returnsOf('ETHUSDT'))).toBeGreaterThan(0.6);
    expect(correlation(returnsOf('BTCUSDT'), returnsOf('LTCUSDT'))).toBeGreaterThan(0.4);
  });

  it('has calm and stormy days', () => {
    const moves = candles
      .filter((candle) => candle.symbol === 'BTCUSDT')
      .map((candle) => Math.abs(Number(candle.close) / Number(candle.open) - 1));
    const days = Array.from({ length: 20 }, (_, day) =>
      moves.slice(day * 96, day * 96 + 96).reduce((sum, move) => sum + move, 0),
    );
    expect(Math.max(...days) / Math.min(...days)).toBeGreaterThan(2);
  });

  it('goes on from given prices', () => {
    const startPrices = new Map([['BTCUSDT', '70123.400000000000000000']]);
    const [first] = makeCandles({ seed: 1, startMs, startPrices, count: 1 });
    expect(first?.open).toBe('70123.4');
  });
});

describe('makePredictions', () => {
  const frames = takeFrames(4_000);
  const closes = new Map(
    frames.flatMap((frame) =>
      frame.candles.map((each) => [`${each.symbol} ${frame.openTimeMs}`, Number(each.close)]),
    ),
  );
  const predictions = [...makePredictions({ seed: 1, startMs, count: 3_900 * symbols })];
  const judged = predictions.flatMap((prediction) => judge(prediction, closes));

  it('gives the same predictions for the same seed', () => {
    expect([...makePredictions({ seed: 1, startMs, count: 30 })]).toEqual(predictions.slice(0, 30));
  });

  it('belongs to the candles of the same seed', () => {
    const candles = [...makeCandles({ seed: 1, startMs, count: 300 })];
    for (const [index, candle] of candles.entries()) {
      expect(predictions[index]).toMatchObject({
        symbol: candle.symbol,
        predictedAt: new Date(Date.parse(candle.openTime) + CANDLE_MS).toISOString(),
        price: candle.close,
      });
    }
  });

  it('is right in about 47 of 100 cases, over each horizon', () => {
    for (const { minutes } of HORIZONS) {
      const own = judged.filter((each) => each.horizonMinutes === minutes);
      expect(own.length).toBeGreaterThan(40_000);
      const hits = own.filter((each) => each.isCorrect).length;
      // Four deviations of a binomial with p = 0.47.
      const bound = 4 * Math.sqrt((0.47 * 0.53) / own.length);
      expect(Math.abs(hits / own.length - 0.47)).toBeLessThan(bound);
    }
  });

  it('is right as often as it says, at every confidence', () => {
    const bins = Map.groupBy(judged, (each) => Math.floor(each.confidence * 20));
    expect(bins.size).toBeGreaterThan(6);
    for (const bin of bins.values()) {
      const meanConfidence = bin.reduce((sum, each) => sum + each.confidence, 0) / bin.length;
      const accuracy = bin.filter((each) => each.isCorrect).length / bin.length;
      const bound = 4 * Math.sqrt((meanConfidence * (1 - meanConfidence)) / bin.length);
      expect(Math.abs(accuracy - meanConfidence)).toBeLessThan(bound);
    }
  });

  it('predicts returns that go with the actual ones', () => {
    const both = judged.filter((each) => each.horizonMinutes === 60);
    const value = correlation(
      both.map((each) => each.predictedReturn),
      both.map((each) => each.actualReturn),
    );
    expect(value).toBeGreaterThan(0.1);
    expect(value).toBeLessThan(0.6);
  });

  it('gives probabilities that sum to 1, the highest to its direction', () => {
    for (const { horizons } of predictions.slice(0, 5_000)) {
      for (const horizon of horizons) {
        const { probabilityLong, probabilityShort, probabilityNeutral } = horizon;
        const all = [probabilityLong, probabilityShort, probabilityNeutral];
        expect(Math.abs(all.reduce((sum, each) => sum + each, 0) - 1)).toBeLessThan(1e-9);
        expect(Math.min(...all)).toBeGreaterThan(0);
        expect(Math.max(...all)).toBeLessThanOrEqual(horizon.confidence + 1e-4);
      }
    }
  });

  it('predicts a return on the side of its direction', () => {
    for (const { horizons } of predictions.slice(0, 5_000)) {
      for (const [index, { direction, predictedReturn }] of horizons.entries()) {
        const horizon = HORIZONS[index];
        expect(horizon && directionOf(horizon, predictedReturn)).toBe(direction);
      }
    }
  });

  it('signals its most confident horizon', () => {
    const [{ signalConfidence, signal, horizons }] = predictions as [LogPredictionItem];
    const strongest = horizons.toSorted((a, b) => b.confidence - a.confidence)[0];
    expect(strongest).toMatchObject({ confidence: signalConfidence, direction: signal });
  });
});

describe('predictFrames', () => {
  it('yields every frame of a finite market, the last ones with a guessed future', () => {
    const frames = takeFrames(60);
    const steps = [...predictFrames(frames, 1)];
    expect(steps.map((step) => step.openTimeMs)).toEqual(frames.map((frame) => frame.openTimeMs));
    expect(steps.at(-1)?.predictions).toHaveLength(symbols);
  });

  it('has no prediction for a symbol without a candle', () => {
    const frames = takeFrames(60).map((frame, index) =>
      index === 5 ? { ...frame, candles: frame.candles.slice(1) } : frame,
    );
    const step = [...predictFrames(frames, 1)][5];
    expect(step?.predictions.map((each) => each.symbol)).not.toContain('BTCUSDT');
  });
});

describe('formatSteps', () => {
  it('writes steps as exact decimals', () => {
    expect(formatSteps(1_234, 2)).toBe('12.34');
    expect(formatSteps(7, 5)).toBe('0.00007');
    expect(formatSteps(42, 0)).toBe('42');
  });
});

function takeFrames(count: number): MarketFrame[] {
  const frames: MarketFrame[] = [];
  for (const frame of generateFrames({ seed: 1, startMs })) {
    if (frames.length === count) break;
    frames.push(frame);
  }
  return frames;
}

function judge(prediction: LogPredictionItem, closes: ReadonlyMap<string, number>) {
  // The candle that closed when it was said.
  const atMs = Date.parse(prediction.predictedAt) - CANDLE_MS;
  return prediction.horizons.flatMap((item, index) => {
    const horizon = HORIZONS[index];
    const future = closes.get(`${prediction.symbol} ${atMs + item.horizonMinutes * 60_000}`);
    if (horizon === undefined || future === undefined) return [];
    const actualReturn = future / Number(prediction.price) - 1;
    return [
      { ...item, actualReturn, isCorrect: directionOf(horizon, actualReturn) === item.direction },
    ];
  });
}

function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanA, meanB] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  for (const [index, value] of a.entries()) {
    const [x, y] = [value - meanA, (b[index] ?? 0) - meanB];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
}
