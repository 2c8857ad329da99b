import type { CandleItem, MarkPriceItem } from './inputs.ts';
import { CANDLE_MS, type MarketStep } from './market.ts';

/** The marks of a step, oldest first: both extremes of each candle, then its close. */
export type StepMarks = readonly [Marks, Marks, Marks];
type Marks = readonly MarkPriceItem[];

/** Dates the marks: they count only where they are newer than those the server has. */
export interface Marker {
  marksOf(step: MarketStep): StepMarks;
  /** Somebody has told newer marks than the demo's clock has: from now on by the real clock. */
  useRealClock(): void;
}

export function createMarker(now: () => number = Date.now): Marker {
  let isReal = false;
  let lastMs = 0;
  return {
    marksOf(step) {
      const closesAtMs = step.openTimeMs + CANDLE_MS;
      // One millisecond apart each, however fast the steps follow.
      const startMs = Math.max(lastMs, now());
      const timeOf = (part: number) =>
        isReal ? startMs + part : closesAtMs - ((3 - part) * CANDLE_MS) / 3;
      if (isReal) lastMs = startMs + 3;
      const marksAt = (part: 1 | 2 | 3): Marks =>
        step.candles.map((candle) => ({
          exchange: candle.exchange,
          symbol: candle.symbol,
          price: pathOf(candle)[part - 1] ?? candle.close,
          at: new Date(timeOf(part)).toISOString(),
        }));
      return [marksAt(1), marksAt(2), marksAt(3)];
    },
    useRealClock() {
      isReal = true;
    },
  };
}

/** The usual guess at the way of a price: a candle that rises has been at its low first. */
function pathOf({ open, high, low, close }: CandleItem): readonly string[] {
  return Number(close) >= Number(open) ? [low, high, close] : [high, low, close];
}
