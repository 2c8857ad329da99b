import { type Logger, pino } from 'pino';
import { createAnswers } from './answers.ts';
import { type Authentication, createAuthentication } from './authentication.ts';
import type { Config } from './config.ts';
import type { Services } from './context.ts';
import { SYSTEM_ACCOUNT } from './datasources/account.ts';
import { type Caches, createCaches } from './datasources/caches.ts';
import { NO_RECORDER } from './datasources/change-recorder.ts';
import { createDatabase, type Database } from './datasources/database.ts';
import { createDatasources } from './datasources/datasources.ts';
import type { EmbeddedPostgres } from './datasources/embedded-postgres.ts';
import { createAlertEngine } from './datasources/alert-engine.ts';
import { createMaintainer } from './datasources/maintainer.ts';
import { createMetricHistory, SAMPLE_SECONDS } from './datasources/metric-history.ts';
import type { PostgresTarget } from './datasources/postgres.ts';
import { startSchedule } from './datasources/schedule.ts';
import { createUnitsOfWork, type OnCommit, type UnitsOfWork } from './datasources/unit-of-work.ts';
import { openWakeups } from './datasources/wakeups.ts';
import { createExecution } from './execution.ts';
import { createFrameExports } from './frame-export.ts';
import { createFrameMemory } from './frame-memory.ts';
import { createHealthMonitor } from './datasources/health.ts';
import type { AdminKey } from './first-key.ts';
import { migrate } from './migrations/migrate.ts';
import {
  adopt,
  backgroundCall,
  makeAdminKey,
  type OpenedDatabase,
  openDatabase,
  openedElsewhere,
  type Prepared,
} from './prepare.ts';
import { createRateLimiter, type RateLimiter } from './rate-limit.ts';
import { createSchema } from './schema/schema.ts';
import { type RunningServer, startServer } from './server.ts';
import { type ChangeFeed, createChangeFeed } from './subscriptions/change-feed.ts';
import { createTraffic } from './datasources/traffic.ts';

export interface Tradewind {
  readonly url: string;
  readonly config: Config;
  readonly embedded: EmbeddedPostgres | null;
  readonly appliedMigrations: readonly string[];
  readonly adminKey: AdminKey;
  readonly database: Database;
  /** Drains, then stops everything; after `shutdownMs` it stops waiting. Safe to call twice. */
  stop(): Promise<void>;
  /** Resolves with a sentence when something the server cannot live without is gone. */
  readonly failed: Promise<string>;
}

/** What a process is given that is one of several. */
export interface Shared {
  readonly prepared: Prepared;
  readonly rateLimiter: RateLimiter;
}

/**
 * The whole server: database, migrations, first key, change feed, HTTP and WebSocket; with what is
 * shared it is one of several processes.
 *
 * @throws FatalError in one sentence when it cannot start; nothing is left running then
 */
export async function startTradewind(
  config: Config,
  log: Logger,
  shared: Shared | null = null,
): Promise<Tradewind> {
  const prepared = shared?.prepared ?? null;
  const undo: (() => Promise<void> | void)[] = [];
  try {
    const opened = prepared === null ? await openDatabase(config) : openedElsewhere(prepared);
    undo.push(() => opened.close());
    const appliedMigrations = prepared?.appliedMigrations ?? (await migrate(opened.target));
    const database = createDatabase({
      target: opened.target,
      slots: config.slots,
      log,
      analyticsDeadlineMs: config.analyticsDeadlineMs,
    });
    undo.push(() => database.close());
    if (prepared === null) await adopt(config, database);

    const caches = await createCaches({
      database,
      log,
      redisUrl: config.redisUrl,
      isOn: config.isCacheOn,
      // Its data folder has one owner, which is this process.
      isSoleWriter: opened.embedded !== null,
      callOf: backgroundCall,
    });
    undo.push(() => caches.close());
    const { target } = opened;
    const writing = createWriting({ config, log, target, database, caches, undo });
    const { feed, units, authentication } = writing;
    const adminKey = prepared?.adminKey ?? (await makeAdminKey(config, units));
    await authentication.refresh();

    startMaintenance({ config, log, units, authentication, undo });
    const services = createServices({ config, database, caches, feed, authentication, undo });
    startAlerts({ database, services, units, log, undo });
    const rateLimiter = shared?.rateLimiter ?? createRateLimiter(config.rateLimits);
    const { isExplorerOn } = config;
    const schema = createSchema();
    const execution = createExecution({ schema, services, units, rateLimiter, isExplorerOn, log });
    const server = await startServer({
      ...config,
      execution,
      answers: createAnswers({ execution, caches, rateLimiter }),
      authentication,
      rateLimiter,
      traffic: services.traffic,
      frameMemory: createFrameMemory(),
      frameExports: createFrameExports({
        database,
        schema,
        log,
        // One slot is left to frames and aggregates.
        atOnceMax: Math.max(1, config.slots.analytics - 1),
        deadlineMs: config.exportDeadlineMs,
        stallMs: config.exportStallMs,
      }),
      log,
      isReady: () => isReady(database),
    });
    return running({ config, log, opened, appliedMigrations, adminKey, database, server, undo });
  } catch (error) {
    await undoAll(undo);
    throw error;
  }
}

/** The change feed, the units of work and the keys: each commit is told to all of them. */
function createWriting(parts: {
  readonly config: Config;
  readonly log: Logger;
  readonly target: PostgresTarget;
  readonly database: Database;
  readonly caches: Caches;
  readonly undo: (() => Promise<void> | void)[];
}) {
  const { config, log, target, database, caches, undo } = parts;
  const onHead = (account: string, seq: number) => caches.heads.wake(account, seq);
  const feed = createChangeFeed({ database, log, onHead });
  undo.push(() => feed.close());
  const wake = (account: string, seq: string) => {
    feed.wake(account, seq);
    onHead(account, Number(seq));
  };
  const warnOfKeys = (error: unknown) =>
    log.warn({ err: error }, 'the keys could not be read again');
  const authentication = createAuthentication(() => listKeys(database), warnOfKeys);
  undo.push(() => authentication.close());
  const wakeups = openWakeups({
    redisUrl: config.redisUrl,
    isNotifyOn: config.isNotifyOn,
    target,
    log,
    onCommit(account, seq) {
      wake(account, seq);
      // Keys are changed there: one that another node has revoked need not wait for the next look.
      if (account === SYSTEM_ACCOUNT) authentication.refreshSoon();
    },
  });
  undo.push(() => wakeups.close());
  const onCommit: OnCommit = ({ commits, touched, entities, logs }) => {
    caches.heads.committed(touched);
    for (const log of logs) feed.take(log);
    for (const { account, seq } of commits) wake(account, seq);
    wakeups.publish(commits);
    // Before the answer: whoever made a key may use it at once, and a revoked one has ended.
    return entities.has('apiKey') ? authentication.refresh().catch(warnOfKeys) : undefined;
  };
  const onError = (error: unknown) => log.error({ err: error }, 'a commit was not told on');
  const units = createUnitsOfWork(database, onCommit, onError, {
    replayed: (commits) => {
      for (const { account, seq } of commits) wake(account, seq);
    },
    unknown: () => caches.heads.distrust(),
  });
  return { feed, units, authentication };
}

function createServices(parts: {
  readonly config: Config;
  readonly database: Database;
  readonly caches: Caches;
  readonly feed: ChangeFeed;
  readonly authentication: Authentication;
  readonly undo: (() => Promise<void> | void)[];
}): Services {
  const { config, database, caches, feed, authentication, undo } = parts;
  const { heartbeatMs, deadlineMs, analyticsDeadlineMs } = config;
  const traffic = createTraffic();
  const cache = () => caches.results.figures();
  const { redisBreaker } = caches;
  const health = createHealthMonitor({ database, feed, traffic, cache, redisBreaker });
  undo.push(() => health.close());
  const metrics = createMetricHistory();
  metrics.add(Date.now(), health.read());
  return {
    database,
    caches,
    feed,
    health,
    metrics,
    traffic,
    heartbeatMs,
    deadlineMs,
    analyticsDeadlineMs,
    isCurrent: (actor) => authentication.isCurrent(actor),
  };
}

function startMaintenance(parts: {
  readonly config: Config;
  readonly log: Logger;
  readonly units: UnitsOfWork;
  readonly authentication: Authentication;
  readonly undo: (() => Promise<void> | void)[];
}): void {
  const { config, log, units, authentication, undo } = parts;
  const maintainer = createMaintainer({
    units,
    log,
    retentionDays: config.retentionDays,
    takeKeyUses: () => authentication.takeUses(),
    giveBackKeyUses: (uses) => authentication.giveBackUses(uses),
  });
  const schedule = startSchedule({
    everyMs: MAINTENANCE_EVERY_MS,
    work: () => maintainer.run(),
    onError: (error) => log.warn({ err: error }, 'the maintenance failed'),
  });
  undo.push(() => schedule.close());
}

/** Holds the figures of this process against the alert rules, from now on. */
function startAlerts(parts: {
  readonly database: Database;
  readonly services: Services;
  readonly units: UnitsOfWork;
  readonly log: Logger;
  readonly undo: (() => Promise<void> | void)[];
}): void {
  const { database, services, units, log, undo } = parts;
  const engine = createAlertEngine({
    units,
    monitor: services.health,
    history: services.metrics,
    readRules: () => {
      const sql = database.interactive.sql(backgroundCall('alerts.readRules', READY_MS));
      return createDatasources(sql, NO_RECORDER).alertRules.list();
    },
    log,
  });
  const schedule = startSchedule({
    everyMs: SAMPLE_SECONDS * 1000,
    work: () => engine.run(),
    onError: (error) => log.warn({ err: error }, 'alerts could not be written'),
  });
  undo.push(() => schedule.close());
}

function running(parts: {
  readonly config: Config;
  readonly log: Logger;
  readonly opened: OpenedDatabase;
  readonly appliedMigrations: readonly string[];
  readonly adminKey: AdminKey;
  readonly database: Database;
  readonly server: RunningServer;
  readonly undo: (() => Promise<void> | void)[];
}): Tradewind {
  const { config, log, opened, server, undo } = parts;
  let stopped: Promise<void> | null = null;

  async function stop(): Promise<void> {
    const late = setTimeout(() => {
      log.warn(`Not everything ended within ${config.shutdownMs} ms: cutting it.`);
      server.destroy();
    }, config.shutdownMs);
    await server.drain();
    clearTimeout(late);
    await undoAll(undo);
  }

  return {
    url: server.url,
    config,
    embedded: opened.embedded,
    appliedMigrations: parts.appliedMigrations,
    adminKey: parts.adminKey,
    database: parts.database,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
    failed:
      opened.embedded === null
        ? new Promise(() => {})
        : opened.embedded.exited.then(() => 'The embedded PostgreSQL has ended unexpectedly.'),
  };
}

/** In the reverse order of their start. */
async function undoAll(undo: (() => Promise<void> | void)[]): Promise<void> {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
}

const MAINTENANCE_EVERY_MS = 60_000;
const READY_MS = 1000;

async function isReady(database: Database): Promise<boolean> {
  try {
    await database.interactive.sql(backgroundCall('readyz', READY_MS))`
      /* server.ping */
      select 1`;
    return true;
  } catch {
    // Not being able to ask is the answer.
    return false;
  }
}

async function listKeys(database: Database) {
  const sql = database.interactive.sql(backgroundCall('authentication.refresh'));
  return createDatasources(sql, NO_RECORDER).apiKeys.list();
}

/** The log of a process: JSON lines on stderr; secrets are taken out by key. */
export function createLog(config: Config): Logger {
  return pino(
    { level: config.logLevel, redact: ['*.authorization', '*.token', '*.password', '*.secret'] },
    pino.destination({ fd: 2, sync: false }),
  );
}
