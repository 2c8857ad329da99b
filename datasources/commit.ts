import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../errors.ts';
import type { Database } from './database.ts';
import type { Call } from './lane.ts';

/** What became of a transaction whose COMMIT got no answer. */
export type Fate = 'committed' | 'aborted' | 'unknown';

/** Longer than a backend of the trading lane keeps the transaction of a client that is silent. */
const SETTLE_MS_MAX = 15_000;
const POLL_MS_MIN = 5;
const POLL_MS_MAX = 250;

/**
 * Asks the database until it knows, for up to 15 s whatever the call's deadline: the client must be
 * told what happened, and a transaction may be in progress for a moment after its connection died.
 * `xid` is the text of `pg_current_xact_id()`. Unknown: not even the database could be asked.
 */
export async function settleCommit(database: Database, call: Call, xid: string): Promise<Fate> {
  const { requestId, operationName } = call;
  const deadlineAt = performance.now() + SETTLE_MS_MAX;
  // Without the caller's signal: what was committed has to be known though nobody waits for it.
  const sql = database.interactive.sql({ requestId, operationName, deadlineAt });
  for (let waitMs = POLL_MS_MIN; ; waitMs = Math.min(POLL_MS_MAX, waitMs * 2)) {
    try {
      const [row] = await sql<{ status: string | null }>`
        /* transactions.status */
        select pg_xact_status(${xid}::text::xid8) as status`;
      // Null: so old that the server has forgotten it.
      const status = row?.status ?? 'unknown';
      if (status !== 'in progress')
        return status === 'committed' || status === 'aborted' ? status : 'unknown';
    } catch (error) {
      if (!(error instanceof AppError && error.isRetryable)) return 'unknown';
    }
    if (performance.now() + waitMs >= deadlineAt) return 'unknown';
    await delay(waitMs);
  }
}
