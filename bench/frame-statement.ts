import type postgres from 'postgres';
import { createFrameRepository } from '../datasources/frame.ts';
import { arrayLiteral } from '../datasources/postgres-types.ts';
import type { Snapshots } from '../datasources/shared-snapshot.ts';
import { type CompiledStatement, createSql, type Rows, type Sql } from '../datasources/sql.ts';

/** The statements by which the product reads a frame, for one connection of the bare driver. */
export interface FrameStatements {
  /** Where the chunks of the frame lie. */
  readonly find: CompiledStatement;
  /** All of them, a row each, without the cursor that the product takes them from. */
  readonly read: CompiledStatement;
}

/** Runs what finds the chunks, and nothing else of what `work` asks the repository for. */
export async function captureFrame(
  driver: postgres.Sql,
  work: (frames: ReturnType<typeof createFrameRepository>) => Promise<unknown>,
): Promise<FrameStatements> {
  const statements: CompiledStatement[] = [];
  const sql = createSql(async (statement) => {
    statements.push(statement);
    if (statements.length > 1) throw new Error('it has been captured');
    return runRaw(driver, statement);
  });
  await work(createFrameRepository(snapshotsOf(sql))).catch(() => undefined);
  const [find, open] = statements;
  if (find === undefined || open === undefined) throw new Error('nothing was captured');
  const text = open.text.replace(/declare "\w+" no scroll cursor for/, '');
  return { find, read: { ...open, text } };
}

export async function runRaw(
  driver: postgres.Sql,
  statement: CompiledStatement,
): Promise<Rows<unknown>> {
  const rows = await driver.unsafe(statement.text, valuesOf(statement)).raw();
  // The driver's result has what our rows have.
  return rows as unknown as Rows<unknown>;
}

export function valuesOf({ parameters }: CompiledStatement): string[] {
  // The driver's type of parameters leaves out what it takes besides texts.
  return parameters.map((value) =>
    Array.isArray(value) ? arrayLiteral(value) : value,
  ) as string[];
}

/** Everything by one connection. */
export function snapshotsOf(sql: Sql): Snapshots {
  return { read: (work) => work({ sql, beside: async () => undefined }) };
}
