import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { findBreakingChanges, buildSchema, lexicographicSortSchema, printSchema } from 'graphql';
import { FatalError } from '../errors.ts';
import { createSchema } from '../schema/schema.ts';

const FILE = join(import.meta.dirname, '..', 'schema', 'schema.graphql');

/** The schema as it is committed. */
export function printedSchema(): string {
  return `${printSchema(lexicographicSortSchema(createSchema()))}\n`;
}

export function addSchemaCommand(program: Command): void {
  program
    .command('schema')
    .description('Print the schema; or write, or check, the committed file.')
    .option('--write', 'write schema/schema.graphql; what clients rely on may not go')
    .option('--check', 'fail when the committed file differs')
    .action(async ({ write, check }: { write?: boolean; check?: boolean }) => {
      const printed = printedSchema();
      if (check) return assertCommitted(printed);
      if (!write) {
        process.stdout.write(printed);
        return;
      }
      await assertCompatible(printed);
      await writeFile(FILE, printed);
    });
}

async function assertCommitted(printed: string): Promise<void> {
  if ((await readCommitted()) !== printed) {
    throw new FatalError('schema/schema.graphql is not the schema: run `npm run schema`.');
  }
}

async function assertCompatible(printed: string): Promise<void> {
  const committed = await readCommitted();
  if (committed === null) return;
  const [change] = findBreakingChanges(buildSchema(committed), buildSchema(printed));
  if (change !== undefined) {
    throw new FatalError(`The schema may only grow compatibly: ${change.description}`);
  }
}

async function readCommitted(): Promise<string | null> {
  try {
    return await readFile(FILE, 'utf8');
  } catch {
    // The first time there is none.
    return null;
  }
}
