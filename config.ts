import { join, resolve } from 'node:path';
import { z } from 'zod';
import { FatalError } from './errors.ts';

const wholeNumber = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const flag = z.enum(['on', 'off']).transform((word) => word === 'on');

const RETENTION_DAYS_MAX = 36_500;
/** Each needs a connection of every lane, and all together may have 50. */
const WORKERS_MAX = 10;

const environmentSchema = z.object({
  NODE_ENV: z.enum(['development', 'production', 'test']).default('development'),
  PORT: wholeNumber(0, 65535).default(4000),
  HOST: z.string().min(1).default('127.0.0.1'),
  DATABASE_URL: z.string().optional(),
  DATABASE_PREPARE: flag.default(true),
  DATABASE_TLS: z.enum(['verify', 'off']).default('verify'),
  REDIS_URL: z.string().optional(),
  NOTIFY: flag.optional(),
  WORKERS: wholeNumber(1, WORKERS_MAX).default(1),
  CACHE: flag.default(true),
  TRADEWIND_HOME: z.string().min(1).default('.tradewind'),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).optional(),
  TRADING_SLOTS: wholeNumber(1, 32).optional(),
  INTERACTIVE_SLOTS: wholeNumber(1, 32).optional(),
  ANALYTICS_SLOTS: wholeNumber(1, 32).optional(),
  DEADLINE_MS: wholeNumber(100, 600_000).default(10_000),
  ANALYTICS_DEADLINE_MS: wholeNumber(100, 600_000).default(30_000),
  DEADLINE_MAX_MS: wholeNumber(100, 600_000).default(60_000),
  EXPORT_DEADLINE_MS: wholeNumber(100, 86_400_000).default(600_000),
  EXPORT_STALL_MS: wholeNumber(100, 50_000).default(30_000),
  SHUTDOWN_MS: wholeNumber(100, 600_000).default(25_000),
  HEARTBEAT_MS: wholeNumber(50, 600_000).default(10_000),
  RATE_LIMIT_PER_SECOND: wholeNumber(1, 1_000_000_000).default(200_000),
  RATE_LIMIT_BURST: wholeNumber(1, 1_000_000_000).default(2_000_000),
  OPERATIONS_PER_KEY_MAX: wholeNumber(1, 10_000).default(256),
  SOCKETS_PER_KEY_MAX: wholeNumber(1, 100_000).default(2000),
  SOCKETS_MAX: wholeNumber(1, 100_000).default(10_000),
  EXPLORE: flag.optional(),
  RETENTION_DAYS_SIGNALS: wholeNumber(1, RETENTION_DAYS_MAX).optional(),
  RETENTION_DAYS_PREDICTIONS: wholeNumber(1, RETENTION_DAYS_MAX).optional(),
  RETENTION_DAYS_CANDLES: wholeNumber(1, RETENTION_DAYS_MAX).optional(),
  RETENTION_DAYS_CHANGES: wholeNumber(1, RETENTION_DAYS_MAX).optional(),
});

/** The names `readConfig` reads; every other variable is ignored. */
export const ENVIRONMENT_VARIABLES: readonly string[] = Object.keys(environmentSchema.shape);

export interface Config {
  readonly mode: 'development' | 'production' | 'test';
  readonly host: string;
  readonly port: number;
  /** Null: an embedded server under `home` is started. */
  readonly databaseUrl: string | null;
  readonly isPrepareOn: boolean;
  readonly isTlsOn: boolean;
  readonly redisUrl: string | null;
  /** Whether nodes are told of commits by the database; never beside Redis. */
  readonly isNotifyOn: boolean;
  /** Processes that serve, behind one port. */
  readonly workers: number;
  /** Whether results of queries are kept. */
  readonly isCacheOn: boolean;
  /** Absolute folder of the embedded data and the first key. */
  readonly home: string;
  readonly logLevel: string;
  /** Of each worker. */
  readonly slots: Slots;
  /** Longest a request may take when it does not say so itself. */
  readonly deadlineMs: number;
  /** The same for frames and aggregates. */
  readonly analyticsDeadlineMs: number;
  /** What a request may ask for at most; never less than what it gets when it does not ask. */
  readonly deadlineMaxMs: number;
  /** How long an export may take, in milliseconds. */
  readonly exportDeadlineMs: number;
  /** An export that its client takes nothing of for so long is cut. */
  readonly exportStallMs: number;
  /** After this long a shutdown stops waiting. */
  readonly shutdownMs: number;
  readonly heartbeatMs: number;
  readonly rateLimits: RateLimits;
  /** GraphiQL for everyone who may connect, introspection for keys that may explore. */
  readonly isExplorerOn: boolean;
  /** Days after which rows are deleted; null: never. */
  readonly retentionDays: Readonly<
    Record<'signals' | 'predictions' | 'candles' | 'changes', number | null>
  >;
}

/** Connections to the database of each lane. */
type Slots = Readonly<Record<'trading' | 'interactive' | 'analytics' | 'feed', number>>;

/** What each key, and all of them together, may use of the workers together. */
export interface RateLimits {
  /** Units of cost that a key may spend a second, and how many it may have saved. */
  readonly unitsPerSecond: number;
  readonly unitsBurst: number;
  /** Operations of a key that are under way; streams are not. */
  readonly operationsPerKeyMax: number;
  /** Open WebSockets and SSE streams. */
  readonly socketsPerKeyMax: number;
  readonly socketsMax: number;
}

/**
 * The settings of this process; the only reader of the environment.
 *
 * @throws FatalError one sentence naming each variable that is wrong and what is needed
 */
export function readConfig(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Config {
  // An empty variable is one that is not set: compose files pass empty strings.
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const parsed = environmentSchema.safeParse(given);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new FatalError(`Wrong configuration: ${faults.join('; ')}.`);
  }
  const value = parsed.data;
  const isProduction = value.NODE_ENV === 'production';
  const redisUrl = value.REDIS_URL ?? null;
  const isNotifyOn = redisUrl === null && (value.NOTIFY ?? value.WORKERS > 1);
  const slots = defaultSlots(isProduction, value.WORKERS, isNotifyOn);
  return {
    mode: value.NODE_ENV,
    host: value.HOST,
    port: value.PORT,
    databaseUrl: value.DATABASE_URL ?? null,
    isPrepareOn: value.DATABASE_PREPARE,
    isTlsOn: value.DATABASE_TLS === 'verify',
    redisUrl,
    isNotifyOn,
    workers: value.WORKERS,
    isCacheOn: value.CACHE,
    home: resolve(value.TRADEWIND_HOME),
    // Beside the lines that a person reads, JSON about what is merely slow would be noise.
    logLevel: value.LOG_LEVEL ?? (isProduction ? 'info' : 'error'),
    slots: {
      trading: value.TRADING_SLOTS ?? slots.trading,
      interactive: value.INTERACTIVE_SLOTS ?? slots.interactive,
      analytics: value.ANALYTICS_SLOTS ?? slots.analytics,
      feed: slots.feed,
    },
    deadlineMs: value.DEADLINE_MS,
    analyticsDeadlineMs: value.ANALYTICS_DEADLINE_MS,
    deadlineMaxMs: Math.max(value.DEADLINE_MAX_MS, value.DEADLINE_MS, value.ANALYTICS_DEADLINE_MS),
    exportDeadlineMs: value.EXPORT_DEADLINE_MS,
    exportStallMs: value.EXPORT_STALL_MS,
    shutdownMs: value.SHUTDOWN_MS,
    heartbeatMs: value.HEARTBEAT_MS,
    rateLimits: {
      unitsPerSecond: value.RATE_LIMIT_PER_SECOND,
      unitsBurst: value.RATE_LIMIT_BURST,
      operationsPerKeyMax: value.OPERATIONS_PER_KEY_MAX,
      socketsPerKeyMax: value.SOCKETS_PER_KEY_MAX,
      socketsMax: value.SOCKETS_MAX,
    },
    isExplorerOn: value.EXPLORE ?? !isProduction,
    retentionDays: {
      signals: value.RETENTION_DAYS_SIGNALS ?? null,
      predictions: value.RETENTION_DAYS_PREDICTIONS ?? null,
      candles: value.RETENTION_DAYS_CANDLES ?? null,
      changes: value.RETENTION_DAYS_CHANGES ?? null,
    },
  };
}

/** What the server may have of the database's connections, all workers together. */
const CONNECTIONS_MAX = 50;

/** Of each worker: fewer where there are many, so that all have room. */
function defaultSlots(isProduction: boolean, workers: number, isNotifyOn: boolean): Slots {
  const wanted = isProduction
    ? { trading: 8, interactive: 8, analytics: 4 }
    : { trading: 4, interactive: 4, analytics: 2 };
  const feed = 1;
  const room = Math.floor(CONNECTIONS_MAX / workers) - feed - (isNotifyOn ? 1 : 0);
  const share = Math.min(1, room / (wanted.trading + wanted.interactive + wanted.analytics));
  const sizeOf = (count: number) => Math.max(1, Math.floor(count * share));
  return {
    trading: sizeOf(wanted.trading),
    interactive: sizeOf(wanted.interactive),
    analytics: sizeOf(wanted.analytics),
    feed,
  };
}

/** The file that holds the first ADMIN key of an installation and nothing else. */
export function adminKeyFile(config: Config): string {
  return join(config.home, 'admin-key');
}
