import { type Actor, permissionsOf, restrict } from '../../access.ts';
import type { Context } from '../../context.ts';
import { NO_RECORDER } from '../../datasources/change-recorder.ts';
import { createDatabase, type Database } from '../../datasources/database.ts';
import { createMetricHistory } from '../../datasources/metric-history.ts';
import { createDatasources } from '../../datasources/datasources.ts';
import type { Call } from '../../datasources/lane.ts';
import type { HealthMonitor } from '../../datasources/health.ts';
import type { PostgresTarget } from '../../datasources/postgres.ts';
import { createBudget } from '../../limits.ts';
import {
  type ChangeFeed,
  type ChangeFeedOptions,
  createChangeFeed,
} from '../../subscriptions/change-feed.ts';
import { createTraffic } from '../../datasources/traffic.ts';
import { makeCaches } from './caches.ts';
import { makeCall } from './call.ts';
import { framesInText } from '../../frame-memory.ts';
import { createTestClock, type TestClock } from './clock.ts';
import { createTestDatabase } from './database.ts';

export const ACTOR: Actor = {
  name: 'key:test',
  role: 'BOT',
  permissions: permissionsOf('BOT'),
  accounts: null,
  expiresAtMs: null,
};

export interface TestFeed {
  readonly database: Database;
  readonly target: PostgresTarget;
  /** A feed that is closed with all others at the end. */
  openFeed(options?: Partial<ChangeFeedOptions>): ChangeFeed;
  close(): Promise<void>;
}

/** A database of its own, and feeds over it. */
export async function createTestFeed(): Promise<TestFeed> {
  const testDatabase = await createTestDatabase();
  const database = createDatabase({
    target: testDatabase.target,
    slots: { trading: 8, interactive: 4, analytics: 1, feed: 1 },
    log: { warn: () => undefined },
    breaker: { halfOpenAfterMs: 20, halfOpenAfterMsMax: 20 },
  });
  const feeds: ChangeFeed[] = [];
  return {
    database,
    target: testDatabase.target,
    openFeed(options = {}) {
      const log = { warn: () => undefined, info: () => undefined };
      const feed = createChangeFeed({ database, log, ...options });
      feeds.push(feed);
      return feed;
    },
    async close() {
      await Promise.all(feeds.map((feed) => feed.close()));
      await database.close();
      await testDatabase.drop();
    },
  };
}

/** A clock that stands still while the feed or a reader asks the database. */
export function createFeedClock({ feed, interactive }: Database): TestClock {
  return createTestClock(() => feed.figures().busy + interactive.figures().busy > 0);
}

const NO_HEALTH: HealthMonitor = {
  read() {
    throw new Error('no stream of changes asks for it');
  },
  close() {},
};

/** The context of a subscription. */
export function makeContext(
  database: Database,
  feed: ChangeFeed,
  changes: {
    readonly actor?: Actor;
    readonly call?: Call;
    readonly heartbeatMs?: number;
    readonly isCurrent?: () => boolean;
  } = {},
): Context {
  const { actor = ACTOR, call = makeCall(), heartbeatMs = 10_000 } = changes;
  const datasources = createDatasources(database.interactive.sql(call), NO_RECORDER);
  const caches = makeCaches(database);
  return {
    requestId: call.requestId,
    operationName: null,
    actor,
    call,
    datasources: restrict(datasources, actor),
    analytics: restrict(datasources, actor),
    budget: createBudget(call),
    frames: framesInText(),
    reads: caches.results.open(),
    lastEventId: null,
    lastEvent: { cursor: null },
    sharing: null,
    unit: null,
    fields: 0,
    services: {
      database,
      caches,
      feed,
      health: NO_HEALTH,
      metrics: createMetricHistory(1),
      traffic: createTraffic(),
      heartbeatMs,
      deadlineMs: 10_000,
      analyticsDeadlineMs: 30_000,
      isCurrent: changes.isCurrent ?? (() => true),
    },
  };
}
