import type postgres from 'postgres';
import type { NewChange } from '../datasources/change-recorder.ts';
import { type CompiledStatement, createSql, type Sql } from '../datasources/sql.ts';

/** Takes the place of a unit of work: keeps what would be written instead of writing it. */
export interface Capture {
  readonly sql: Sql;
  readonly recorder: {
    record(change: NewChange): void;
    expectTradingState(): void;
    setTradingState(): void;
    ownTradingState(): null;
    readonly actor: string;
    readonly at: string;
  };
  readonly statements: CompiledStatement[];
  readonly changes: NewChange[];
}

/**
 * Stands under a repository of the product, so that the limit runs the very statement the product
 * does: its text and its parameters are kept, and it is answered with `rows` rows.
 */
export function createCapture(rows: number): Capture {
  const statements: CompiledStatement[] = [];
  const changes: NewChange[] = [];
  return {
    statements,
    changes,
    sql: createSql(async (statement) => {
      statements.push(statement);
      return Object.assign([], { count: rows, command: 'CAPTURED' });
    }),
    recorder: {
      record: (change) => {
        changes.push(change);
      },
      expectTradingState: () => undefined,
      setTradingState: () => undefined,
      ownTradingState: () => null,
      actor: 'bench',
      at: '2026-01-01T00:00:00.000000Z',
    },
  };
}

/** Runs it by the bare driver, prepared. How many rows it gave or changed. */
export async function runStatement(
  driver: postgres.Sql | postgres.TransactionSql,
  { text, parameters }: CompiledStatement,
): Promise<number> {
  // The statements that are captured have texts alone as parameters.
  const rows = await driver.unsafe(text, parameters as string[], { prepare: true });
  return rows.count;
}

/** A change as a row of the log, without the hashes that chain it to the one before. */
export function toChangeRow(change: NewChange, seq: number, operationName: string): object {
  return {
    account_id: change.accountId,
    seq,
    at: '2026-01-01T00:00:00Z',
    entity: change.entity,
    operation: change.operation,
    ids: change.ids,
    count: change.count ?? change.ids.length,
    before: change.before ?? null,
    after: change.after ?? null,
    actor: 'key:benchmark',
    request_id: 'ab0f7d65-3f7e-4b1e-9a55-d41f6a9d3c55',
    operation_name: operationName,
    row_hash: '\\x',
    hash: '\\x',
  };
}
