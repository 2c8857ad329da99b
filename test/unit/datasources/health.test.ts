import { describe, expect, it } from 'vitest';
import { DEGRADED, judge } from '../../../datasources/health.ts';
import { createStatementStatistics } from '../../../datasources/statistics.ts';
import { makeCall } from '../../support/call.ts';

type State = Parameters<typeof judge>[0];

const CLOSED = {
  state: 'CLOSED',
  failures: 0,
  opens: 0,
  openedAt: null,
  retryAfterMs: null,
} as const;
const QUIET = {
  calls: 0,
  errors: 0,
  rows: 0,
  msTotal: 0,
  msMean: 0,
  msP50: 0,
  msP95: 0,
  msP99: 0,
  msMax: 0,
};

function makeState(changes: Partial<State> = {}): State {
  return {
    pools: [
      {
        name: 'trading',
        size: 4,
        busy: 0,
        idle: 4,
        waiting: 0,
        acquireMsP95: null,
        breaker: CLOSED,
      },
    ],
    breakers: [{ name: 'trading', ...CLOSED }],
    queries: { total: 0, errors: 0, slow: 0, retries: 0, perSecond: 0, recent: QUIET },
    cache: {
      backend: 'memory',
      hits: 0,
      misses: 0,
      entries: 0,
      isAvailable: true,
      operations: [],
    },
    feed: { subscriptions: 0, sockets: 0, deliveredPerSecond: 0, lagMs: null, isConnected: true },
    process: { rssBytes: 1, heapUsedBytes: 1, eventLoopMsP99: 0 },
    ...changes,
  };
}

const withErrors = (calls: number, errors: number): Partial<State> => ({
  queries: { ...makeState().queries, recent: { ...QUIET, calls, errors } },
});

const withWaiting = (waiting: number): Partial<State> => ({
  pools: makeState().pools.map((pool) => ({ ...pool, waiting })),
});

const withBreaker = (name: string, state: 'OPEN' | 'HALF_OPEN'): Partial<State> => ({
  breakers: [{ name, ...CLOSED, state }],
});

const withLoop = (eventLoopMsP99: number): Partial<State> => ({
  process: { ...makeState().process, eventLoopMsP99 },
});

describe('the judgement of a process', () => {
  it.each<[string, Partial<State>, string, number]>([
    ['nothing happens', {}, 'HEALTHY', 0],
    ['few statements fail', withErrors(100, 5), 'HEALTHY', 0],
    ['more fail', withErrors(100, 6), 'DEGRADED', 1],
    ['too few ran to tell', withErrors(DEGRADED.errorCallsMin - 1, 19), 'HEALTHY', 0],
    ['a queue is at its bound', withWaiting(DEGRADED.waiting), 'HEALTHY', 0],
    ['a queue is longer', withWaiting(DEGRADED.waiting + 1), 'DEGRADED', 1],
    ['the loop is at its bound', withLoop(DEGRADED.eventLoopMsP99), 'HEALTHY', 0],
    ['the loop is held up', withLoop(DEGRADED.eventLoopMsP99 + 1), 'DEGRADED', 1],
    ['mutations are refused', withBreaker('trading', 'OPEN'), 'UNHEALTHY', 1],
    ['queries are refused', withBreaker('interactive', 'OPEN'), 'UNHEALTHY', 1],
    ['mutations are tried again', withBreaker('trading', 'HALF_OPEN'), 'DEGRADED', 1],
    ['frames are refused', withBreaker('analytics', 'OPEN'), 'DEGRADED', 1],
    ['Redis is away', withBreaker('redis', 'OPEN'), 'DEGRADED', 1],
  ])('when %s', (_when, changes, status, reasons) => {
    const found = judge(makeState(changes));
    expect(found.status).toBe(status);
    expect(found.reasons).toHaveLength(reasons);
  });

  it('says that the feed or the cache is away', () => {
    const feed = { ...makeState().feed, isConnected: false };
    expect(judge(makeState({ feed })).status).toBe('DEGRADED');
    const cache = { ...makeState().cache, isAvailable: false };
    expect(judge(makeState({ cache })).status).toBe('DEGRADED');
  });
});

describe('statistics since a mark', () => {
  const statistics = createStatementStatistics({ warn: () => undefined });
  const call = makeCall();
  const record = (ms: number, error: string | null = null) =>
    statistics.record({ name: 'a', lane: 'interactive', ms, rows: 2, error, call });

  it('are of what came after it alone', () => {
    for (let run = 0; run < 10; run += 1) record(80);
    const mark = statistics.mark();
    for (let run = 0; run < 99; run += 1) record(1);
    record(2, 'CONFLICT');
    const since = statistics.since(mark);
    expect(since).toMatchObject({ calls: 100, errors: 1, rows: 200, msTotal: 101 });
    expect(since.msP50).toBeGreaterThan(0.9);
    expect(since.msP99).toBeLessThan(1.1);
    expect(since.msMax).toBeGreaterThanOrEqual(2);
    expect(since.msMax).toBeLessThan(2.2);
  });

  it('are nothing when nothing came', () => {
    expect(statistics.since(statistics.mark())).toMatchObject({ calls: 0, msP99: 0, msMax: 0 });
  });

  it('count what was slow', () => {
    const before = statistics.slowCount();
    record(100.1);
    record(100);
    expect(statistics.slowCount()).toBe(before + 1);
  });
});
