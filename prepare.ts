import type { Logger } from 'pino';
import { adminKeyFile, type Config } from './config.ts';
import { checkConnections, createDatabase, type Database } from './datasources/database.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './datasources/embedded-postgres.ts';
import { adoptHistory } from './datasources/history.ts';
import type { Call } from './datasources/lane.ts';
import { NOTIFY_CONNECTIONS } from './datasources/notify-wakeups.ts';
import type { PostgresTarget } from './datasources/postgres.ts';
import { createUnitsOfWork, type UnitsOfWork } from './datasources/unit-of-work.ts';
import { type AdminKey, ensureAdminKey } from './first-key.ts';
import { migrate } from './migrations/migrate.ts';

/** The database of this configuration, embedded where none is configured. */
export interface OpenedDatabase {
  readonly target: PostgresTarget;
  readonly embedded: EmbeddedPostgres | null;
  close(): Promise<void>;
}

/** A database that is ready to be served: another process has opened and migrated it. */
export interface Prepared {
  readonly target: PostgresTarget;
  readonly adminKey: AdminKey;
  readonly appliedMigrations: readonly string[];
}

/** Opens the configured database, or starts the embedded one. @throws FatalError */
export async function openDatabase(config: Config): Promise<OpenedDatabase> {
  const { isPrepareOn, isTlsOn } = config;
  if (config.databaseUrl !== null) {
    const target = { url: config.databaseUrl, isPrepareOn, isTlsOn };
    return { target, embedded: null, close: async () => {} };
  }
  const embedded = await startEmbeddedPostgres({ home: config.home });
  const target = { ...embedded.connection, isPrepareOn, isTlsOn };
  return { target, embedded, close: () => embedded.stop() };
}

/**
 * What is done once for several processes: the database is opened and migrated, has room for all of
 * them, and has its first key.
 *
 * @throws FatalError in one sentence; nothing is left running then
 */
export async function prepare(
  config: Config,
  log: Logger,
): Promise<{ readonly opened: OpenedDatabase; readonly prepared: Prepared }> {
  const opened = await openDatabase(config);
  try {
    const { target } = opened;
    const appliedMigrations = await migrate(target);
    const slots = { trading: 1, interactive: 1, analytics: 1, feed: 1 };
    const database = createDatabase({ target, slots, log });
    try {
      await adopt(config, database);
      // Nobody serves yet who could be told.
      const units = createUnitsOfWork(database, () => undefined);
      const adminKey = await makeAdminKey(config, units);
      return { opened, prepared: { target, adminKey, appliedMigrations } };
    } finally {
      await database.close();
    }
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** Makes sure of a database that is opened for the first time. @throws FatalError */
export async function adopt(
  { slots, workers, isNotifyOn }: Config,
  database: Database,
): Promise<void> {
  const beside = isNotifyOn ? NOTIFY_CONNECTIONS : 0;
  await checkConnections(database, slots, { processes: workers, beside });
  await adoptHistory(database.trading.sql(backgroundCall('start.adoptHistory')));
}

/** The first key of this installation. @throws FatalError */
export function makeAdminKey(config: Config, units: UnitsOfWork): Promise<AdminKey> {
  return ensureAdminKey(adminKeyFile(config), units, backgroundCall('start.firstKey'));
}

/** As `openDatabase`, of what another process has opened and closes. */
export function openedElsewhere({ target }: Prepared): OpenedDatabase {
  return { target, embedded: null, close: async () => {} };
}

const BACKGROUND_MS = 10_000;

/** For what no client asked for. */
export function backgroundCall(operationName: string, timeMs = BACKGROUND_MS): Call {
  return { requestId: operationName, operationName, deadlineAt: performance.now() + timeMs };
}
