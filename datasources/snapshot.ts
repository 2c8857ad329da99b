import { NO_RECORDER } from './change-recorder.ts';
import type { Database } from './database.ts';
import { createDatasources, type Datasources } from './datasources.ts';
import type { Call } from './lane.ts';

/** Runs `work` over one moment of the database: all its reads see the same rows and heads. */
export async function withSnapshot<T>(
  database: Database,
  call: Call,
  work: (datasources: Datasources) => Promise<T>,
): Promise<T> {
  return database.interactive.withSession(call, async (session) => {
    await session.command('begin isolation level repeatable read read only');
    const result = await work(createDatasources(session.sql, NO_RECORDER));
    await session.command('commit');
    return result;
  });
}
