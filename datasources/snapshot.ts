import { NO_RECORDER } from './change-recorder.ts';
import type { Database } from './database.ts';
import { createDatasources, type Datasources } from './datasources.ts';
import type { Call } from './lane.ts';

/**
 * Runs `work` over one moment of the database: all its reads, however many statements they take,
 * see the same rows and heads. Not restricted to an actor.
 *
 * @throws what `work` throws, and as `Lane.withSession` does
 */
export async function withSnapshot<T>(
  database: Database,
  call: Call,
  work: (datasources: Datasources) => Promise<T>,
): Promise<T> {
  return database.interactive.withSession(call, async (session) => {
    await session.command('begin isolation level repeatable read read only');
    try {
      const result = await work(createDatasources(session.sql, NO_RECORDER));
      await session.command('commit');
      return result;
    } catch (error) {
      // A lost connection has rolled back by itself and takes no further command.
      if (!session.isLost) await session.command('rollback');
      throw error;
    }
  });
}
