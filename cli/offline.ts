import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { type Config, readConfig } from '../config.ts';
import { createDatabase, type Database } from '../datasources/database.ts';
import { createLog } from '../main.ts';
import { migrate } from '../migrations/migrate.ts';
import { openDatabase } from '../prepare.ts';
import type { Call } from '../datasources/lane.ts';

/** A migrated database for a command that runs without a server. */
export interface Offline {
  readonly config: Config;
  readonly database: Database;
  readonly log: Logger;
  readonly appliedMigrations: readonly string[];
  call(operationName: string): Call;
}

/** A command may take as long as it needs; what it waits for at once may not. */
const STATEMENT_MS = 10 * 60_000;
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
      return await work({ config, database, log, appliedMigrations, call: commandCall });
    } finally {
      await database.close();
    }
  } finally {
    await opened.close();
  }
}

/** Of a command: the deadline is that of each statement, however many there are. */
export function commandCall(operationName: string): Call {
  return {
    requestId: randomUUID(),
    operationName,
    get deadlineAt() {
      return performance.now() + STATEMENT_MS;
    },
  };
}
