import type {
  CacheFigures,
  CacheOperationFigures,
  FeedHealth as FeedRecord,
  Health as HealthRecord,
  NamedBreaker,
  ProcessFigures,
  QueryFigures,
} from '../datasources/health.ts';
import type { LaneFigures } from '../datasources/lane.ts';
import { health } from '../resolvers/health.ts';
import { healthMetrics } from '../subscriptions/health.ts';
import { builder } from './builder.ts';

const HealthStatus = builder.enumType('HealthStatus', {
  values: {
    HEALTHY: { description: 'Everything works; so is a server that does nothing.' },
    DEGRADED: { description: 'It answers, but `reasons` says what is slower or missing.' },
    UNHEALTHY: { description: 'Mutations or queries cannot reach the database.' },
  } as const,
});

const BreakerState = builder.enumType('BreakerState', {
  values: {
    CLOSED: { description: 'Everything is let through.' },
    HALF_OPEN: { description: 'A few are let through, to see.' },
    OPEN: { description: 'Everything is refused with UNAVAILABLE until `retryAfterMs` is over.' },
  } as const,
});

const PoolHealth = builder.objectRef<LaneFigures>('PoolHealth').implement({
  description: 'One lane of connections to the database, now.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'trading, interactive, analytics or feed.' }),
    size: t.exposeInt('size'),
    busy: t.exposeInt('busy'),
    idle: t.exposeInt('idle'),
    waiting: t.exposeInt('waiting', { description: 'Statements and transactions in its queue.' }),
    usagePercentage: t.float({ resolve: ({ busy, size }) => (100 * busy) / size }),
    acquireMsP95: t.exposeFloat('acquireMsP95', {
      nullable: true,
      description: 'Wait for a slot, of the last 500; null before the first.',
    }),
  }),
});

const QueryHealth = builder.objectRef<QueryFigures>('QueryHealth').implement({
  description:
    'SQL statements of this process. Counts are since its start; rates are shares from 0 to 1, ' +
    'and they and the milliseconds are of the last minute: null when there was no statement.',
  fields: (t) => ({
    total: t.field({ type: 'BigInt', resolve: ({ total }) => String(total) }),
    errors: t.field({ type: 'BigInt', resolve: ({ errors }) => String(errors) }),
    perSecond: t.exposeFloat('perSecond', { description: 'Of the last ten seconds.' }),
    successRate: t.float({
      description: '1 when there was no statement.',
      resolve: (parent) => 1 - errorRateOf(parent),
    }),
    errorRate: t.float({
      description: '0 when there was no statement.',
      resolve: errorRateOf,
    }),
    msMean: t.float({ nullable: true, resolve: ({ recent }) => recentOf(recent, 'msMean') }),
    msP50: t.float({ nullable: true, resolve: ({ recent }) => recentOf(recent, 'msP50') }),
    msP95: t.float({ nullable: true, resolve: ({ recent }) => recentOf(recent, 'msP95') }),
    msP99: t.float({ nullable: true, resolve: ({ recent }) => recentOf(recent, 'msP99') }),
    slow: t.field({
      type: 'BigInt',
      description: 'Above 100 ms, in the trading lane above 50 ms.',
      resolve: ({ slow }) => String(slow),
    }),
    retries: t.field({ type: 'BigInt', resolve: ({ retries }) => String(retries) }),
  }),
});

function errorRateOf({ recent }: QueryFigures): number {
  return recent.calls === 0 ? 0 : recent.errors / recent.calls;
}

function recentOf(
  recent: QueryFigures['recent'],
  name: 'msMean' | 'msP50' | 'msP95' | 'msP99',
): number | null {
  return recent.calls === 0 ? null : recent[name];
}

/** Of as many names as one answer shows. */
const OPERATIONS_MAX = 50;

const CacheOperation = builder.objectRef<CacheOperationFigures>('CacheOperation').implement({
  description: 'Reads of the operations of one name.',
  fields: (t) => ({
    name: t.exposeString('name', {
      description: '`other` counts those without a name, and those beyond the first 500 names.',
    }),
    hits: t.field({ type: 'BigInt', resolve: ({ hits }) => String(hits) }),
    misses: t.field({ type: 'BigInt', resolve: ({ misses }) => String(misses) }),
    hitRate: t.exposeFloat('hitRate', { description: 'A share from 0 to 1.' }),
  }),
});

const CacheHealth = builder.objectRef<CacheFigures>('CacheHealth').implement({
  description: 'The result cache as this process uses it.',
  fields: (t) => ({
    backend: t.exposeString('backend', { description: 'redis or memory.' }),
    hits: t.field({ type: 'BigInt', resolve: ({ hits }) => String(hits) }),
    misses: t.field({ type: 'BigInt', resolve: ({ misses }) => String(misses) }),
    hitRate: t.float({
      nullable: true,
      description: 'A share from 0 to 1; null before the first look.',
      resolve: ({ hits, misses }) => (hits + misses === 0 ? null : hits / (hits + misses)),
    }),
    operations: t.field({
      type: [CacheOperation],
      description: 'The 50 that read most, in that order.',
      resolve: ({ operations }) => mostRead(operations),
    }),
    entries: t.exposeInt('entries'),
    available: t.exposeBoolean('isAvailable', {
      description: 'False: results are computed anew until it is back.',
    }),
  }),
});

const BreakerHealth = builder.objectRef<NamedBreaker>('BreakerHealth').implement({
  description: 'A circuit breaker: one for each lane, and one for Redis where it is configured.',
  fields: (t) => ({
    name: t.exposeString('name'),
    state: t.expose('state', { type: BreakerState }),
    failures: t.exposeInt('failures', { description: 'In a row, until now.' }),
    opens: t.exposeInt('opens', { description: 'How often it has opened since the start.' }),
    openedAt: t.expose('openedAt', { type: 'DateTime', nullable: true }),
    retryAfterMs: t.int({
      nullable: true,
      resolve: ({ retryAfterMs }) => (retryAfterMs === null ? null : Math.ceil(retryAfterMs)),
    }),
  }),
});

const FeedHealth = builder.objectRef<FeedRecord>('FeedHealth').implement({
  description: 'Subscriptions of this process.',
  fields: (t) => ({
    subscriptions: t.exposeInt('subscriptions', { description: 'That follow an account now.' }),
    sockets: t.exposeInt('sockets', { description: 'WebSockets that are open now.' }),
    deliveredPerSecond: t.exposeFloat('deliveredPerSecond', {
      description: 'Events handed to subscribers, of the last ten seconds.',
    }),
    lagMs: t.exposeFloat('lagMs', {
      nullable: true,
      description:
        'From the commit of the last change that was read to its arrival here, by two clocks; ' +
        'null before the first.',
    }),
  }),
});

const ProcessHealth = builder.objectRef<ProcessFigures>('ProcessHealth').implement({
  fields: (t) => ({
    rssBytes: t.field({ type: 'BigInt', resolve: ({ rssBytes }) => String(rssBytes) }),
    heapUsedBytes: t.field({
      type: 'BigInt',
      resolve: ({ heapUsedBytes }) => String(heapUsedBytes),
    }),
    eventLoopMsP99: t.exposeFloat('eventLoopMsP99', {
      description: 'How late timers were, of the last ten to twenty seconds.',
    }),
  }),
});

/** None can be configured yet: the list is empty. */
const ReplicaHealth = builder.objectRef<ReplicaRecord>('ReplicaHealth').implement({
  description: 'A streaming replica for the analytics lane.',
  fields: (t) => ({
    name: t.exposeString('name'),
    lagMs: t.exposeFloat('lagMs', { nullable: true }),
    available: t.exposeBoolean('isAvailable'),
  }),
});

interface ReplicaRecord {
  readonly name: string;
  readonly lagMs: number | null;
  readonly isAvailable: boolean;
}

const Health = builder.objectRef<HealthRecord>('Health').implement({
  description: 'How the process that answers is; other nodes answer for themselves.',
  fields: (t) => ({
    status: t.expose('status', { type: HealthStatus }),
    reasons: t.exposeStringList('reasons', {
      description: 'One sentence for each thing that is not as it should be.',
    }),
    at: t.expose('at', { type: 'DateTime' }),
    uptimeSeconds: t.exposeFloat('uptimeSeconds'),
    node: t.exposeString('node', { description: '<host name>:<process id>.' }),
    pools: t.field({ type: [PoolHealth], resolve: ({ pools }) => [...pools] }),
    queries: t.expose('queries', { type: QueryHealth }),
    cache: t.expose('cache', { type: CacheHealth }),
    breakers: t.field({ type: [BreakerHealth], resolve: ({ breakers }) => [...breakers] }),
    feed: t.expose('feed', { type: FeedHealth }),
    process: t.expose('process', { type: ProcessHealth }),
    replicas: t.field({
      type: [ReplicaHealth],
      description: 'Empty: replicas are not supported yet.',
      resolve: () => [],
    }),
  }),
});

builder.queryField('health', (t) =>
  t.field({
    description: 'How this process is, now. Never cached.',
    type: Health,
    nullable: true,
    resolve: (_root, _args, context) => health(context),
  }),
);

builder.subscriptionField('healthMetrics', (t) =>
  t.field({
    description:
      'How this process is, at once and then each `intervalMs`. A reader that is slow gets the ' +
      'state of the moment it reads, never a queue.',
    type: Health,
    args: {
      intervalMs: t.arg.int({ defaultValue: 1000, description: '100 to 60000 milliseconds.' }),
    },
    subscribe: (_root, args, context) => healthMetrics(context, args),
    resolve: (event) => event,
  }),
);

function mostRead(operations: readonly CacheOperationFigures[]) {
  const readsOf = ({ hits, misses }: CacheOperationFigures) => hits + misses;
  return operations.toSorted((a, b) => readsOf(b) - readsOf(a)).slice(0, OPERATIONS_MAX);
}
