import type { Sql } from './sql.ts';

export type OperationState = 'COMMITTED' | 'IN_FLIGHT';

/** What is known of a request by its idempotency key. */
export interface OperationRecord {
  readonly idempotencyKey: string;
  readonly state: OperationState;
  /** The data of its answer, as a repeat gets it; null while it is under way. */
  readonly response: unknown;
  readonly committedAt: string | null;
}

export function createOperationRepository(sql: Sql) {
  return {
    /** What became of the request that this subject sent under this key; null: nothing is known. */
    async find(subject: string, idempotencyKey: string): Promise<OperationRecord | null> {
      // First the lock, then the row: one that commits in between is found by its row.
      const isHeld = await isKeyHeld(subject, idempotencyKey);
      const [row] = await sql<{ response: string; committedAt: string }>`
        /* operations.find */
        select response, committed_at from idempotency_keys
        where subject = ${subject} and key = ${idempotencyKey}`;
      if (row !== undefined) {
        const response: unknown = JSON.parse(row.response);
        return { idempotencyKey, state: 'COMMITTED', response, committedAt: row.committedAt };
      }
      if (!isHeld) return null;
      return { idempotencyKey, state: 'IN_FLIGHT', response: null, committedAt: null };
    },
  };

  /** Whether a transaction holds the advisory lock of the key; looking does not take it. */
  async function isKeyHeld(subject: string, idempotencyKey: string): Promise<boolean> {
    const [row] = await sql<{ isHeld: boolean }>`
      /* operations.findLock */
      select exists (
        select from pg_locks, (
          select hashtextextended(${`${subject} ${idempotencyKey}`}, 2) as hash
        ) as key
        where locktype = 'advisory' and granted and objsubid = 1
          and database = (select oid from pg_database where datname = current_database())
          and classid = ((hash >> 32) & 4294967295)::oid and objid = (hash & 4294967295)::oid
      ) as is_held`;
    return row?.isHeld ?? false;
  }
}
