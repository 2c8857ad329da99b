import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../errors.ts';
import type { Commit } from './append.ts';
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

/** How far back from the head the rows of a transaction that has just ended are looked for. */
const RECENT_ROWS_MAX = 100_000;

/** The last change in each of these accounts that this transaction of this request has made. */
export async function readCommits(
  sql: Sql,
  accountIds: readonly string[],
  requestId: string,
  xid: string,
): Promise<readonly Commit[]> {
  return sql<Commit>`
    /* changes.readCommits */
    select recent.account_id as account, max(recent.seq) as seq
    from unnest(${accountIds}::text[]) as named (id)
    cross join lateral (
      select account_id, seq, request_id, xmin from changes
      where account_id = named.id order by seq desc limit ${RECENT_ROWS_MAX}) as recent
    where recent.request_id = ${requestId} and recent.xmin = ${xid}::xid8::xid
    group by recent.account_id order by recent.account_id`;
}
