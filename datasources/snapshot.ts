import { NO_RECORDER } from './change-recorder.ts';
import type { Database } from './database.ts';
import { createDatasources, type Datasources } from './datasources.ts';
import type { Call } from './lane.ts';
import { inSnapshot } from './shared-snapshot.ts';

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
  return database.interactive.withSession(call, (session) =>
    inSnapshot(session, () => work(createDatasources(session.sql, NO_RECORDER))),
  );
}
