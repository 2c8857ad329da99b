import type { TestProject } from 'vitest/node';
import type { EmbeddedPostgres } from '../../datasources/embedded-postgres.ts';
import { connect, type PostgresTarget } from '../../datasources/postgres.ts';
import { migrate } from '../../migrations/migrate.ts';
import { startTestPostgres } from './embedded.ts';
import { TEMPLATE } from './template.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The server of this run. */
    postgres: { readonly socketPath: string; readonly user: string };
  }
}

let server: EmbeddedPostgres | undefined;

/** One server for the whole run. */
export async function setup(project: TestProject): Promise<void> {
  server = await startTestPostgres();
  const { socketPath, user } = server.connection;
  project.provide('postgres', { socketPath, user });
  try {
    await createTemplate({ ...server.connection, isPrepareOn: true, isTlsOn: false });
  } catch (error) {
    await server.stop();
    throw error;
  }
}

export async function teardown(): Promise<void> {
  await server?.stop();
}

async function createTemplate(target: PostgresTarget): Promise<void> {
  const client = connect(target, { statementTimeoutMs: 0 });
  try {
    await client.unsafe(`create database ${TEMPLATE}`);
    await migrate({ ...target, database: TEMPLATE });
    // A session of it would keep it from being cloned.
    await client.unsafe(`alter database ${TEMPLATE} with is_template true allow_connections false`);
  } finally {
    await client.end({ timeout: 1 });
  }
}
