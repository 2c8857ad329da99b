import { describe, expect, it } from 'vitest';
import { createMetricHistory } from '../../../datasources/metric-history.ts';
import { makeHealth } from '../../support/alerts.ts';

const METRIC = 'process.eventLoopMsP99';

describe('the history of a metric', () => {
  it('is the mean of each step, and null where nothing was measured', () => {
    const history = createMetricHistory(10);
    for (const [atMs, value] of [
      [0, 1],
      [10_000, 3],
      [40_000, 8],
    ] as const) {
      history.add(atMs, makeHealth('node', value));
    }
    const span = { fromMs: 0, toMs: 60_000, stepMs: 20_000 };
    expect(history.read(METRIC, span)).toEqual([
      { atMs: 0, value: 2 },
      { atMs: 20_000, value: null },
      { atMs: 40_000, value: 8 },
    ]);
    expect(history.read('queries.msP99', span).map(({ value }) => value)).toEqual([
      null,
      null,
      null,
    ]);
  });

  it('keeps the newest samples, and none outside of the span', () => {
    const history = createMetricHistory(3);
    for (let sample = 0; sample < 5; sample += 1) {
      history.add(sample * 1000, makeHealth('node', sample));
    }
    const span = { fromMs: 0, toMs: 4000, stepMs: 1000 };
    expect(history.read(METRIC, span).map(({ value }) => value)).toEqual([null, null, 2, 3]);
  });
});
