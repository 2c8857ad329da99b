import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type postgres from 'postgres';
import { connect, type PostgresTarget } from '../datasources/postgres.ts';
import { toStartFault } from '../datasources/postgres-fault.ts';
import { FatalError } from '../errors.ts';

interface Migration {
  readonly name: string;
  readonly text: string;
  readonly sha256: string;
}

const FILE = /^\d{4}_[a-z0-9_]+\.sql$/;
const NO_TRANSACTION = /^-- no-transaction$/m;
const LOCK_KEY = 7_241_190_611;

/**
 * Applies the migrations that the database does not have yet, in the order of their numbers, each
 * in a transaction of its own. Nodes that start together wait for each other.
 * The names of those applied.
 *
 * @throws FatalError when the database cannot be used, or an applied file was edited or is missing
 */
export async function migrate(target: PostgresTarget): Promise<readonly string[]> {
  const migrations = await readMigrations();
  const client = connect(target, { statementTimeoutMs: 0 });
  try {
    await client.unsafe(`select pg_advisory_lock(${LOCK_KEY})`);
    await client.unsafe(
      `create table if not exists schema_migrations (
         name text primary key, sha256 text not null,
         applied_at timestamptz not null default clock_timestamp())`,
    );
    const known = await client.unsafe<{ name: string; sha256: string }[]>(
      '/* migrations.list */ select name, sha256 from schema_migrations order by name',
    );
    assertSameHistory(migrations, known);
    const missing = migrations.slice(known.length);
    for (const migration of missing) await apply(client, migration);
    return missing.map((migration) => migration.name);
  } catch (error) {
    throw toStartFault(error, target);
  } finally {
    await client.end({ timeout: 1 });
  }
}

async function apply(client: postgres.Sql, migration: Migration): Promise<void> {
  // The name is made of [a-z0-9_.] and the digest of hex digits: neither needs quoting.
  const entry = `insert into schema_migrations (name, sha256)
    values ('${migration.name}', '${migration.sha256}');`;
  if (NO_TRANSACTION.test(migration.text)) {
    await client.unsafe(migration.text);
    await client.unsafe(entry);
    return;
  }
  await client.unsafe(`begin;\n${migration.text}\n;${entry}\ncommit;`);
}

async function readMigrations(): Promise<readonly Migration[]> {
  const names = (await readdir(import.meta.dirname)).filter((name) => FILE.test(name)).sort();
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(`${import.meta.dirname}/${name}`, 'utf8');
      return { name, text, sha256: createHash('sha256').update(text).digest('hex') };
    }),
  );
}

function assertSameHistory(
  migrations: readonly Migration[],
  known: readonly { readonly name: string; readonly sha256: string }[],
): void {
  for (const [index, applied] of known.entries()) {
    const here = migrations[index];
    if (here?.name !== applied.name) {
      throw new FatalError(
        `The database has migration ${applied.name}, which this version of Tradewind does not ` +
          'know: start the version that applied it, or a newer one.',
      );
    }
    if (here.sha256 !== applied.sha256) {
      throw new FatalError(
        `Migration ${applied.name} differs from the one this database was made with: ` +
          'applied migrations are never edited.',
      );
    }
  }
}
