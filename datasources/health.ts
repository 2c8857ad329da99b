import { hostname } from 'node:os';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { Database } from './database.ts';
import type { BreakerFigures } from './resilience.ts';
import { requestRetries } from './resilience.ts';
import type { LaneFigures } from './lane.ts';
import type { StatementFigures, StatementMark } from './statistics.ts';
import type { Traffic } from './traffic.ts';

export type HealthStatus = 'HEALTHY' | 'DEGRADED' | 'UNHEALTHY';

export interface CacheFigures {
  /** `redis` or `memory`. */
  readonly backend: string;
  readonly hits: number;
  readonly misses: number;
  readonly entries: number;
  readonly isAvailable: boolean;
  readonly operations: readonly CacheOperationFigures[];
}

/** Of the operations of one name. */
export interface CacheOperationFigures {
  readonly name: string;
  readonly hits: number;
  readonly misses: number;
  /** Of hits and misses; 0 to 1. */
  readonly hitRate: number;
}

/** How this process is. Counts are since its start; rates and quantiles are of the last minute. */
export interface Health {
  readonly status: HealthStatus;
  /** One sentence for each thing that is not as it should be. */
  readonly reasons: readonly string[];
  readonly at: string;
  readonly uptimeSeconds: number;
  readonly node: string;
  readonly pools: readonly LaneFigures[];
  readonly queries: QueryFigures;
  readonly cache: CacheFigures;
  readonly breakers: readonly NamedBreaker[];
  readonly feed: FeedHealth;
  readonly process: ProcessFigures;
}

export type NamedBreaker = BreakerFigures & { readonly name: string };

export interface QueryFigures {
  readonly total: number;
  readonly errors: number;
  readonly slow: number;
  readonly retries: number;
  readonly perSecond: number;
  /** Of the last minute; calls 0: there were none. */
  readonly recent: Omit<StatementFigures, 'name'>;
}

export interface FeedHealth {
  readonly subscriptions: number;
  readonly sockets: number;
  readonly deliveredPerSecond: number;
  readonly lagMs: number | null;
  /** False while it cannot read the log. */
  readonly isConnected: boolean;
}

export interface ProcessFigures {
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
  readonly eventLoopMsP99: number;
}

export interface HealthMonitor {
  read(): Health;
  close(): void;
}

export interface HealthOptions {
  readonly database: Database;
  readonly feed: FeedState;
  readonly traffic: Traffic;
  readonly cache: () => CacheFigures;
  /** Of Redis; null: none is configured. */
  readonly redisBreaker: (() => BreakerFigures) | null;
}

/** The part of the change feed that is looked at. */
interface FeedState {
  figures(): {
    readonly subscriptions: number;
    readonly lagMs: number | null;
    readonly isConnected: boolean;
  };
}

const SAMPLE_MS = 1000;
/** Rates and quantiles look back so far. */
const WINDOW_SAMPLES = 60;
/** What is shown a second looks back so far: an operator sees at once that something stands still. */
const RATE_SAMPLES = 10;
/** The delay histogram counts from its own interval on. */
const LOOP_RESOLUTION_MS = 10;

/** Above these a process is DEGRADED, each with a reason. */
export const DEGRADED = {
  /** Share of the statements of the last minute that failed, of at least 20. */
  errorRate: 0.05,
  errorCallsMin: 20,
  eventLoopMsP99: 200,
  /** Statements that wait for a slot of one lane. */
  waiting: 100,
} as const;

interface Sample {
  readonly atMs: number;
  readonly statements: StatementMark;
  readonly delivered: number;
}

/** Takes a sample a second, so that what is asked for is of the time just past. */
export function createHealthMonitor(options: HealthOptions): HealthMonitor {
  const { database, feed, traffic } = options;
  const node = `${hostname()}:${process.pid}`;
  const samples: Sample[] = [];
  const loop = createLoopMonitor();

  function sample(): void {
    samples.push({
      atMs: performance.now(),
      statements: database.statistics.mark(),
      delivered: traffic.figures().delivered,
    });
    if (samples.length > WINDOW_SAMPLES) samples.shift();
    loop.turn();
  }

  sample();
  const timer = setInterval(sample, SAMPLE_MS);
  timer.unref();

  function readQueries(): QueryFigures {
    const { totals } = database.statistics.snapshot();
    const recent = database.statistics.since(oldest(samples, WINDOW_SAMPLES).statements);
    const rate = oldest(samples, RATE_SAMPLES);
    return {
      total: totals.calls,
      errors: totals.errors,
      slow: database.statistics.slowCount(),
      retries: requestRetries.figures().retries,
      perSecond: (totals.calls - rate.statements.calls) / secondsSince(rate),
      recent,
    };
  }

  function readFeed(): FeedHealth {
    const { subscriptions, lagMs, isConnected } = feed.figures();
    const { sockets, delivered } = traffic.figures();
    const rate = oldest(samples, RATE_SAMPLES);
    const deliveredPerSecond = (delivered - rate.delivered) / secondsSince(rate);
    return { subscriptions, sockets, deliveredPerSecond, lagMs, isConnected };
  }

  return {
    read() {
      const lanes = [database.trading, database.interactive, database.analytics, database.feed];
      const pools = lanes.map((lane) => lane.figures());
      const breakers: NamedBreaker[] = pools.map(({ name, breaker }) => ({ name, ...breaker }));
      if (options.redisBreaker !== null) {
        breakers.push({ name: 'redis', ...options.redisBreaker() });
      }
      const { rss, heapUsed } = process.memoryUsage();
      const state = {
        pools,
        breakers,
        queries: readQueries(),
        cache: options.cache(),
        feed: readFeed(),
        process: { rssBytes: rss, heapUsedBytes: heapUsed, eventLoopMsP99: loop.msP99() },
      };
      return {
        ...judge(state),
        ...state,
        at: new Date().toISOString(),
        uptimeSeconds: process.uptime(),
        node,
      };
    },
    close() {
      clearInterval(timer);
      loop.close();
    },
  };
}

type State = Pick<Health, 'pools' | 'breakers' | 'queries' | 'cache' | 'feed' | 'process'>;

/** Without the lanes of mutations and queries nobody is served: UNHEALTHY. */
const VITAL: ReadonlySet<string> = new Set(['trading', 'interactive']);

/** What the figures come to. A process that does nothing is HEALTHY. */
export function judge(state: State): Pick<Health, 'status' | 'reasons'> {
  const grave: string[] = [];
  const reasons: string[] = [];
  for (const { name, state: breaker } of state.breakers) {
    if (breaker === 'CLOSED') continue;
    const where = VITAL.has(name) && breaker === 'OPEN' ? grave : reasons;
    where.push(`The breaker of ${name} is ${breaker}.`);
  }
  for (const { name, waiting } of state.pools) {
    if (waiting > DEGRADED.waiting) reasons.push(`${waiting} statements wait in the ${name} lane.`);
  }
  const { calls, errors } = state.queries.recent;
  if (calls >= DEGRADED.errorCallsMin && errors / calls > DEGRADED.errorRate) {
    reasons.push(`${errors} of ${calls} statements of the last minute failed.`);
  }
  if (!state.cache.isAvailable) reasons.push('The result cache cannot be reached.');
  if (!state.feed.isConnected) reasons.push('The change feed cannot read the log.');
  const { eventLoopMsP99 } = state.process;
  if (eventLoopMsP99 > DEGRADED.eventLoopMsP99) {
    reasons.push(`The event loop was held up for ${Math.round(eventLoopMsP99)} ms.`);
  }
  if (grave.length > 0) return { status: 'UNHEALTHY', reasons: [...grave, ...reasons] };
  return { status: reasons.length > 0 ? 'DEGRADED' : 'HEALTHY', reasons };
}

function oldest(samples: readonly Sample[], count: number): Sample {
  const found = samples[Math.max(0, samples.length - count)];
  if (found === undefined) throw new Error('the first sample is taken at the start');
  return found;
}

/** At least one: the first moments would show rates that nobody has seen. */
function secondsSince({ atMs }: Sample): number {
  return Math.max(1, (performance.now() - atMs) / 1000);
}

const LOOP_TURN_SAMPLES = 10;

/** The delay of timers, of the last ten to twenty seconds. */
function createLoopMonitor() {
  let current = startLoopHistogram();
  let previousMs = 0;
  let turns = 0;
  const msOf = (histogram: IntervalHistogram) =>
    histogram.count === 0 ? 0 : Math.max(0, histogram.percentile(99) / 1e6 - LOOP_RESOLUTION_MS);
  return {
    turn(): void {
      turns += 1;
      if (turns % LOOP_TURN_SAMPLES !== 0) return;
      previousMs = msOf(current);
      current.disable();
      current = startLoopHistogram();
    },
    msP99: () => Math.max(previousMs, msOf(current)),
    close: () => {
      current.disable();
    },
  };
}

function startLoopHistogram(): IntervalHistogram {
  const histogram = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  histogram.enable();
  return histogram;
}
