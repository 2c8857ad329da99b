import { FatalError } from '../errors.ts';
import { createLane, type Lane, type LaneName } from './lane.ts';
import { DatabaseError, type OvertimeCode, type PostgresTarget } from './postgres.ts';
import { type BreakerOptions, createBreaker } from './resilience.ts';
import { createStatementStatistics, type StatementStatistics, type WarnLog } from './statistics.ts';

/** The connections of this process, one lane for each kind of work. */
export interface Database {
  /** Mutations. */
  readonly trading: Lane;
  /** Queries, snapshots and catch-up. */
  readonly interactive: Lane;
  /** Frames and aggregates. */
  readonly analytics: Lane;
  /** Tails and polls the change log, nothing else. */
  readonly feed: Lane;
  readonly statistics: StatementStatistics;
  /** Waits for what runs, refuses what waits, and ends every connection. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly target: PostgresTarget;
  readonly slots: Slots;
  readonly log: WarnLog;
  readonly breaker?: Partial<BreakerOptions>;
  readonly statementTimeoutMs?: Partial<Readonly<Record<LaneName, number>>>;
  /** The server lets statements of the analytics lane run at least as long. */
  readonly analyticsDeadlineMs?: number;
  /** How many statements may wait for a slot, per lane. */
  readonly waitingMax?: number;
  /** How long a session is used; asked once for each. */
  readonly renewAfterMs?: () => number;
}

/** How many connections each lane may have. */
export type Slots = Readonly<Record<LaneName, number>>;

/** What the server itself stops; a call's own deadline may be shorter. */
const STATEMENT_TIMEOUT_MS: Readonly<Record<LaneName, number>> = {
  trading: 10_000,
  interactive: 15_000,
  analytics: 60_000,
  feed: 5_000,
};
const WAITING_MAX = 1000;

/**
 * Joins and aggregates are planned month by month: each partition has statistics of its own, the
 * partitioned table has none unless somebody makes them, and without any a join of predictions with
 * their horizons is expected to give hundreds of times as many rows as it does. They are planned
 * anew for each range that is asked for: a plan for any range, which a session makes after five of
 * them, knows neither the months nor the rows, and takes six times as long.
 */
const ANALYTICS_PARAMETERS = {
  enable_partitionwise_join: 'on',
  enable_partitionwise_aggregate: 'on',
  plan_cache_mode: 'force_custom_plan',
};

/** A read that takes too long does so again; a write may have waited for others. */
const OVERTIME_CODES = {
  trading: 'DEADLINE_EXCEEDED',
  interactive: 'QUERY_TOO_EXPENSIVE',
  analytics: 'QUERY_TOO_EXPENSIVE',
  feed: 'DEADLINE_EXCEEDED',
} as const satisfies Record<LaneName, OvertimeCode>;

const MINUTE_MS = 60_000;

/** Prepared statements pile up in a session; sessions made together are not renewed together. */
function renewAfterMs(): number {
  return (15 + Math.random() * 15) * MINUTE_MS;
}

/** The lanes; a connection is opened when it is first needed. */
export function createDatabase(options: DatabaseOptions): Database {
  const statistics = createStatementStatistics(options.log);
  const timeoutsMs = {
    ...STATEMENT_TIMEOUT_MS,
    analytics: Math.max(STATEMENT_TIMEOUT_MS.analytics, options.analyticsDeadlineMs ?? 0),
  };
  const lane = (name: LaneName): Lane =>
    createLane({
      name,
      size: options.slots[name],
      slot: {
        target: options.target,
        applicationName: `tradewind ${name}`,
        statementTimeoutMs: options.statementTimeoutMs?.[name] ?? timeoutsMs[name],
        overtimeCode: OVERTIME_CODES[name],
        parameters: name === 'analytics' ? ANALYTICS_PARAMETERS : {},
        renewAfterMs: options.renewAfterMs ?? renewAfterMs,
      },
      breaker: createBreaker(name, isFailureOfConnection, options.breaker),
      statistics,
      waitingMax: options.waitingMax ?? WAITING_MAX,
    });
  const lanes = {
    trading: lane('trading'),
    interactive: lane('interactive'),
    analytics: lane('analytics'),
    feed: lane('feed'),
  };
  return {
    ...lanes,
    statistics,
    async close() {
      await Promise.all(Object.values(lanes).map((each) => each.close()));
    },
  };
}

/** Failures to connect, lost connections and silence; never what a statement or its caller did. */
function isFailureOfConnection(error: unknown): boolean {
  return error instanceof DatabaseError && error.isConnectionLost;
}

/** Of all workers together. */
const CONNECTIONS_MAX = 50;
const VERSION_MIN = 15;
const CHECK_MS_MAX = 10_000;

/** What is opened besides one process with these lanes. */
export interface MoreConnections {
  /** That have these lanes. */
  readonly processes: number;
  /** Of each process, beside its lanes. */
  readonly beside: number;
}

/**
 * Resolves when the server is one Tradewind runs on and has room for these connections.
 *
 * @throws FatalError one sentence: too many connections, or a server that is too old
 * @throws DatabaseError UNAVAILABLE when it cannot be reached
 */
export async function checkConnections(
  database: Database,
  slots: Slots,
  { processes, beside }: MoreConnections = { processes: 1, beside: 0 },
): Promise<void> {
  const wanted = processes * Object.values(slots).reduce((sum, count) => sum + count, beside);
  if (wanted > CONNECTIONS_MAX) {
    throw new FatalError(
      `The lanes have ${wanted} connections together: at most ${CONNECTIONS_MAX} are allowed.`,
    );
  }
  const sql = database.interactive.sql({
    requestId: 'start',
    operationName: null,
    deadlineAt: performance.now() + CHECK_MS_MAX,
  });
  const [server] = await sql<{ version: string; number: number; connections: number }>`
    /* database.check */
    select current_setting('server_version') as version,
      current_setting('server_version_num')::int as number,
      current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0) as connections`;
  if (server === undefined) throw new Error('a select without a from list gave no row');
  if (server.number < VERSION_MIN * 10_000) {
    throw new FatalError(
      `The database is PostgreSQL ${server.version}: ${VERSION_MIN} or newer is needed.`,
    );
  }
  if (wanted > server.connections) {
    throw new FatalError(
      `The lanes have ${wanted} connections together, but the database allows ` +
        `${server.connections}: raise max_connections or lower the slots.`,
    );
  }
}
