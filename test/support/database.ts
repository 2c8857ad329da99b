import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { connect, type PostgresTarget } from '../../datasources/postgres.ts';
import { TEMPLATE } from './template.ts';

export interface TestDatabase {
  readonly target: PostgresTarget;
  /** Ends every session of it. */
  drop(): Promise<void>;
}

/** A database of its own on the server of the run; migrated unless told otherwise. */
export async function createTestDatabase(
  options: { readonly migrated?: boolean } = {},
): Promise<TestDatabase> {
  const { socketPath, user } = inject('postgres');
  const server = { socketPath, user, isPrepareOn: true, isTlsOn: false };
  const database = `test_${randomBytes(8).toString('hex')}`;
  const template = options.migrated === false ? 'template0' : TEMPLATE;
  await onServer(server, `create database ${database} template ${template}`);
  return {
    target: { ...server, database },
    drop: () => onServer(server, `drop database if exists ${database} with (force)`),
  };
}

async function onServer(server: PostgresTarget, statement: string): Promise<void> {
  const client = connect({ ...server, database: 'postgres' }, { statementTimeoutMs: 0 });
  try {
    await client.unsafe(statement);
  } finally {
    await client.end({ timeout: 1 });
  }
}
