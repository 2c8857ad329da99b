import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../errors.ts';
import type { Database } from './database.ts';
import type { Call } from './lane.ts';
import type { Sql } from './sql.ts';

/** What became of a transaction whose COMMIT got no answer. */
export type Fate = 'committed' | 'aborted' | 'unknown';

/** Longer than a backend of the trading lane keeps the transaction of a client that is silent. */
const SETTLE_MS_MAX = 15_000;
const POLL_MS_MIN = 5;
const POLL_MS_MAX = 250;

/** Whether what the transaction stored is there, and by it alone: a row that names the unit. */
export type CommitProof = (sql: Sql) => Promise<boolean>;

/**
 * Asks the database until it knows, for up to 15 s whatever the call's deadline: the client must be
 * told what happened, and a transaction may be in progress for a moment after its connection died.
 * `xid` is the text of `pg_current_xact_id()`. Unknown: not even the database could be asked.
 *
 * A server that crashed gives the ids of transactions it did not save to others, so `committed`
 * holds for this one only with a proof. Without one it is true as long as the server did not crash.
 */
export async function settleCommit(
  database: Database,
  call: Call,
  xid: string,
  isStored?: CommitProof,
): Promise<Fate> {
  const { requestId, operationName } = call;
  const deadlineAt = performance.now() + SETTLE_MS_MAX;
  // Without the caller's signal: what was committed has to be known though nobody waits for it.
  const sql = database.interactive.sql({ requestId, operationName, deadlineAt });
  for (let waitMs = POLL_MS_MIN; ; waitMs = Math.min(POLL_MS_MAX, waitMs * 2)) {
    try {
      const status = await readStatus(sql, xid);
      if (status === 'aborted') return 'aborted';
      if (status === 'committed') {
        return isStored === undefined || (await isStored(sql)) ? 'committed' : 'aborted';
      }
      // Null: so old that the server has forgotten it.
      if (status === null) return 'unknown';
    } catch (error) {
      if (!(error instanceof AppError && error.isRetryable)) return 'unknown';
    }
    if (performance.now() + waitMs >= deadlineAt) return 'unknown';
    await delay(waitMs);
  }
}

async function readStatus(sql: Sql, xid: string): Promise<string | null> {
  const [row] = await sql<{ status: string | null }>`
    /* transactions.status */
    select pg_xact_status(${xid}::text::xid8) as status`;
  return row?.status ?? null;
}

/** Whether the change with this seq is there and was made by this request. */
export async function hasChange(
  sql: Sql,
  accountId: string,
  seq: string,
  requestId: string,
): Promise<boolean> {
  const rows = await sql`
    /* changes.exists */
    select from changes
    where account_id = ${accountId} and seq = ${seq} and request_id = ${requestId}`;
  return rows.length > 0;
}
