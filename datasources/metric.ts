import type { Health } from './health.ts';

/** A figure of a process with a name, for its history and for alerts. */
export interface Metric {
  readonly unit: string;
  /** Null: nothing was measured. */
  read(health: Health): number | null;
}

const LANES = ['trading', 'interactive', 'analytics', 'feed'] as const;

const ofMinute = (
  read: (queries: Health['queries']) => number,
): ((health: Health) => number | null) => {
  return ({ queries }) => (queries.recent.calls === 0 ? null : read(queries));
};

function laneMetrics(lane: string): [string, Metric][] {
  const pool = ({ pools }: Health) => pools.find(({ name }) => name === lane);
  return [
    [
      `pools.${lane}.waiting`,
      { unit: 'statements', read: (health) => pool(health)?.waiting ?? null },
    ],
    [`pools.${lane}.busy`, { unit: 'connections', read: (health) => pool(health)?.busy ?? null }],
    [
      `pools.${lane}.acquireMsP95`,
      { unit: 'ms', read: (health) => pool(health)?.acquireMsP95 ?? null },
    ],
  ];
}

/** By name. They are those of `health`; what is yes or no is 1 or 0. */
export const METRICS: ReadonlyMap<string, Metric> = new Map<string, Metric>([
  [
    'breakers.notClosed',
    {
      unit: 'breakers',
      read: ({ breakers }) => breakers.filter(({ state }) => state !== 'CLOSED').length,
    },
  ],
  ['cache.available', { unit: '', read: ({ cache }) => Number(cache.isAvailable) }],
  ['cache.entries', { unit: 'entries', read: ({ cache }) => cache.entries }],
  [
    'cache.hitRate',
    {
      unit: '',
      read: ({ cache: { hits, misses } }) => (hits + misses === 0 ? null : hits / (hits + misses)),
    },
  ],
  ['feed.connected', { unit: '', read: ({ feed }) => Number(feed.isConnected) }],
  ['feed.deliveredPerSecond', { unit: 'events/s', read: ({ feed }) => feed.deliveredPerSecond }],
  ['feed.lagMs', { unit: 'ms', read: ({ feed }) => feed.lagMs }],
  ['feed.sockets', { unit: 'sockets', read: ({ feed }) => feed.sockets }],
  ['feed.subscriptions', { unit: 'subscriptions', read: ({ feed }) => feed.subscriptions }],
  ...LANES.flatMap(laneMetrics),
  ['process.eventLoopMsP99', { unit: 'ms', read: ({ process }) => process.eventLoopMsP99 }],
  ['process.heapUsedBytes', { unit: 'bytes', read: ({ process }) => process.heapUsedBytes }],
  ['process.rssBytes', { unit: 'bytes', read: ({ process }) => process.rssBytes }],
  ['queries.errorRate', { unit: '', read: ofMinute(({ recent }) => recent.errors / recent.calls) }],
  ['queries.msP50', { unit: 'ms', read: ofMinute(({ recent }) => recent.msP50) }],
  ['queries.msP95', { unit: 'ms', read: ofMinute(({ recent }) => recent.msP95) }],
  ['queries.msP99', { unit: 'ms', read: ofMinute(({ recent }) => recent.msP99) }],
  ['queries.perSecond', { unit: 'statements/s', read: ({ queries }) => queries.perSecond }],
]);

export const METRIC_NAMES: readonly string[] = [...METRICS.keys()];
