import { describe, expect, it, vi } from 'vitest';
import {
  createStatementStatistics,
  SLOW_MS,
  SLOW_STATEMENTS_MAX,
  SLOW_TRADING_MS,
  STATEMENT_NAMES_MAX,
  type StatementRun,
} from '../../../datasources/statistics.ts';
import { makeCall } from '../../support/call.ts';

const makeRun = (changes: Partial<StatementRun> = {}): StatementRun => ({
  name: 'orders.list',
  lane: 'interactive',
  ms: 1,
  rows: 1,
  error: null,
  call: makeCall(),
  ...changes,
});

function makeStatistics() {
  const warn = vi.fn();
  return { statistics: createStatementStatistics({ warn }), warn };
}

describe('statement statistics', () => {
  it('are zero before the first statement', () => {
    const { totals, statements, slow } = makeStatistics().statistics.snapshot();
    expect(totals).toMatchObject({ calls: 0, errors: 0, rows: 0, msMean: 0, msP99: 0, msMax: 0 });
    expect([statements, slow]).toEqual([[], []]);
  });

  it('add up per name and in all, the costliest first', () => {
    const { statistics } = makeStatistics();
    statistics.record(makeRun({ ms: 2, rows: 10 }));
    statistics.record(makeRun({ ms: 4, rows: 0, error: 'CONFLICT' }));
    statistics.record(makeRun({ name: 'trades.list', ms: 30 }));
    const { totals, statements } = statistics.snapshot();
    expect(totals).toMatchObject({ calls: 3, errors: 1, rows: 11, msTotal: 36, msMax: 30 });
    expect(statements).toMatchObject([
      { name: 'trades.list', calls: 1, errors: 0, rows: 1, msTotal: 30, msMean: 30, msMax: 30 },
      { name: 'orders.list', calls: 2, errors: 1, rows: 10, msTotal: 6, msMean: 3, msMax: 4 },
    ]);
  });

  it('have quantiles within 9 % over seven orders of magnitude', () => {
    for (const scale of [0.001, 0.1, 10, 500]) {
      const { statistics } = makeStatistics();
      for (let step = 1; step <= 100; step += 1) statistics.record(makeRun({ ms: step * scale }));
      const { msP50, msP95, msP99, msMax } = statistics.snapshot().totals;
      const errors = [msP50 / 50, msP95 / 95, msP99 / 99, msMax / 100].map((part) => part / scale);
      for (const error of errors) {
        expect(error).toBeGreaterThan(0.91);
        expect(error).toBeLessThan(1.09);
      }
    }
  });

  it.each([0, 1e-9, 1e9])('take %f ms without losing it', (ms) => {
    const { statistics } = makeStatistics();
    statistics.record(makeRun({ ms }));
    expect(statistics.snapshot().totals).toMatchObject({ calls: 1, msMax: ms });
  });

  it('keep so many names, and count those above as other', () => {
    const { statistics } = makeStatistics();
    for (let index = 0; index < STATEMENT_NAMES_MAX; index += 1) {
      statistics.record(makeRun({ name: `name.${index}` }));
    }
    expect(statistics.snapshot().statements).toHaveLength(STATEMENT_NAMES_MAX);
    statistics.record(makeRun({ name: 'one.above', ms: 5 }));
    statistics.record(makeRun({ name: 'two.above', ms: 5 }));
    const { statements } = statistics.snapshot();
    expect(statements).toHaveLength(STATEMENT_NAMES_MAX + 1);
    expect(statements[0]).toMatchObject({ name: 'other', calls: 2 });
  });

  it('say which statements were slow, sooner in the trading lane, and log no parameters', () => {
    const { statistics, warn } = makeStatistics();
    const call = makeCall({ requestId: 'r1', operationName: 'List' });
    statistics.record(makeRun({ ms: SLOW_MS }));
    statistics.record(makeRun({ lane: 'trading', ms: SLOW_TRADING_MS }));
    expect(warn).not.toHaveBeenCalled();
    statistics.record(makeRun({ ms: SLOW_MS + 0.5, call }));
    statistics.record(makeRun({ lane: 'trading', ms: SLOW_TRADING_MS + 0.5, call }));
    expect(statistics.snapshot().slow).toMatchObject([
      { lane: 'trading', ms: 50.5, requestId: 'r1', operationName: 'List' },
      { lane: 'interactive', ms: 100.5, requestId: 'r1', operationName: 'List' },
    ]);
    expect(warn.mock.calls[0]?.[0]).toEqual({
      statement: 'orders.list',
      lane: 'interactive',
      ms: 101,
      rows: 1,
      error: null,
      requestId: 'r1',
    });
  });

  it('keep so many slow statements, and forget the oldest', () => {
    const { statistics } = makeStatistics();
    for (let index = 0; index <= SLOW_STATEMENTS_MAX; index += 1) {
      statistics.record(makeRun({ name: `slow.${index}`, ms: 1000 }));
    }
    const { slow } = statistics.snapshot();
    expect(slow).toHaveLength(SLOW_STATEMENTS_MAX);
    expect(slow[0]?.name).toBe(`slow.${SLOW_STATEMENTS_MAX}`);
    expect(slow.at(-1)?.name).toBe('slow.1');
  });
});
