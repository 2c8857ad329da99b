import { describe, expect, it } from 'vitest';
import type { MarketStep } from '../../../../cli/demo/market.ts';
import { createMarker } from '../../../../cli/demo/marks.ts';

const nowMs = Date.UTC(2026, 0, 1);
const step: MarketStep = {
  openTimeMs: Date.UTC(2025, 0, 1),
  candles: [candle('RISING', '100', '101'), candle('FALLING', '101', '100')],
  predictions: [],
};

function candle(symbol: string, open: string, close: string) {
  const openTime = new Date(Date.UTC(2025, 0, 1)).toISOString();
  const common = { exchange: 'bybit', interval: '15m', openTime, volume: '1' };
  return { ...common, symbol, open, high: '102', low: '99', close };
}

describe('marksOf', () => {
  it('goes through both extremes of a candle to its close', () => {
    const prices = createMarker()
      .marksOf(step)
      .map((marks) => marks.map(({ price }) => price));
    expect(prices).toEqual([
      ['99', '102'],
      ['102', '99'],
      ['101', '100'],
    ]);
  });

  it('dates the marks by the clock of the demo, the last at the close', () => {
    const times = createMarker()
      .marksOf(step)
      .map(([mark]) => mark?.at.slice(11, 19));
    expect(times).toEqual(['00:05:00', '00:10:00', '00:15:00']);
  });

  it('dates each mark later than the last by a real clock that stands still', () => {
    const marker = createMarker(() => nowMs);
    marker.useRealClock();
    const marks = [...marker.marksOf(step), ...marker.marksOf(step)];
    const times = marks.map(([mark]) => Date.parse(mark?.at ?? '') - nowMs);
    expect(times).toEqual([1, 2, 3, 4, 5, 6]);
  });
});
