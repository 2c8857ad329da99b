import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { type Config, readConfig } from '../config.ts';
import { createDatabase, type Database } from '../datasources/database.ts';
import { backgroundCall, createLog, openDatabase } from '../main.ts';
import { migrate } from '../migrations/migrate.ts';
import type { Call } from '../datasources/lane.ts';

/** A migrated database for a command that runs without a server. */
export interface Offline {
  readonly config: Config;
  readonly database: Database;
  readonly log: Logger;
  readonly appliedMigrations: readonly string[];
  call(operationName: string): Call;
}

const COMMAND_MS = 24 * 3_600_000;
const SLOTS = { trading: 1, interactive: 1, analytics: 1, feed: 1 } as const;

/**
 * Opens the database of this configuration for `work` and closes it afterwards.
 *
 * @throws FatalError in one sentence when it cannot be opened
 */
export async function withDatabase<T>(work: (offline: Offline) => Promise<T>): Promise<T> {
  const config = readConfig();
  const log = createLog(config);
  const opened = await openDatabase(config);
  try {
    const appliedMigrations = await migrate(opened.target);
    const database = createDatabase({ target: opened.target, slots: SLOTS, log });
    try {
      const call = (operationName: string): Call => ({
        ...backgroundCall(operationName, COMMAND_MS),
        requestId: randomUUID(),
      });
      return await work({ config, database, log, appliedMigrations, call });
    } finally {
      await database.close();
    }
  } finally {
    await opened.close();
  }
}
