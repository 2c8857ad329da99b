import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../errors.ts';
import type { Call } from './lane.ts';
import type { Commit } from './append.ts';
import type { Sql } from './sql.ts';

/** What names a request that may be sent again. */
export interface IdempotencyKey {
  /** Whose key it is: two actors may use the same word. */
  readonly subject: string;
  readonly key: string;
  /** Hex SHA-256 of document, operation name and canonical variables. */
  readonly requestHash: string;
}

/** The answer that a committed unit of work gave. */
export interface StoredAnswer {
  readonly response: string;
  readonly isShortened: boolean;
  readonly commits: readonly Commit[];
}

interface StoredRow {
  readonly requestHash: string;
  readonly response: string;
  readonly isShortened: boolean;
  readonly commits: readonly Commit[];
}

/**
 * The answer that is stored under this key, or null.
 *
 * @throws AppError IDEMPOTENCY_KEY_REUSED when it was given to another request
 */
export async function findStoredAnswer(
  sql: Sql,
  key: IdempotencyKey,
): Promise<StoredAnswer | null> {
  const [row] = await sql<StoredRow>`
    /* idempotencyKeys.find */
    select encode(request_hash, 'hex') as request_hash, response, is_shortened, commits
    from idempotency_keys where subject = ${key.subject} and key = ${key.key}`;
  return row === undefined ? null : asAnswer(row, key);
}

/**
 * Takes the key for this transaction: `isTaken` is false while another one holds it. A stored
 * answer that committed before this statement is returned with it.
 *
 * @throws AppError IDEMPOTENCY_KEY_REUSED
 */
export async function takeKey(
  sql: Sql,
  key: IdempotencyKey,
): Promise<{ readonly isTaken: boolean; readonly stored: StoredAnswer | null }> {
  const [row] = await sql<
    { isTaken: boolean } & { [Key in keyof StoredRow]: StoredRow[Key] | null }
  >`
    /* idempotencyKeys.take */
    select pg_try_advisory_xact_lock(hashtextextended(${`${key.subject} ${key.key}`}, 2)) as is_taken,
      encode(k.request_hash, 'hex') as request_hash, k.response, k.is_shortened, k.commits
    from (values (1)) as one (one)
    left join idempotency_keys k on k.subject = ${key.subject} and k.key = ${key.key}`;
  if (row === undefined) throw new Error('a select without a from list gave no row');
  const { isTaken, ...stored } = row;
  // The columns of the left join are null together.
  return {
    isTaken,
    stored: stored.response === null ? null : asAnswer(stored as StoredRow, key),
  };
}

/** Whether the answer to this very request is stored under its key. */
export async function hasStoredAnswer(sql: Sql, key: IdempotencyKey | null): Promise<boolean> {
  if (key === null) return false;
  const rows = await sql`
    /* idempotencyKeys.exists */
    select from idempotency_keys
    where subject = ${key.subject} and key = ${key.key}
      and request_hash = decode(${key.requestHash}, 'hex')`;
  return rows.length > 0;
}

function asAnswer(row: StoredRow, key: IdempotencyKey): StoredAnswer {
  if (row.requestHash !== key.requestHash) {
    throw new AppError(
      'IDEMPOTENCY_KEY_REUSED',
      'This idempotency key was used for another request: give each request its own.',
    );
  }
  return { response: row.response, isShortened: row.isShortened, commits: row.commits };
}

const KEY_WAIT_FIRST_MS = 5;
const KEY_WAIT_MAX_MS = 200;

/**
 * Waits a while, longer each time, for another node that has the key.
 *
 * @throws AppError IDEMPOTENCY_KEY_IN_FLIGHT at the deadline
 */
export async function waitForKey(call: Call, waits: number): Promise<void> {
  const waitMs = Math.min(KEY_WAIT_MAX_MS, KEY_WAIT_FIRST_MS * 2 ** waits);
  if (performance.now() + waitMs >= call.deadlineAt) throw inFlightError();
  await delay(waitMs, undefined, call.signal ? { signal: call.signal } : {});
}

/**
 * Waits for the first request with a key on this node.
 *
 * @throws AppError IDEMPOTENCY_KEY_IN_FLIGHT at the deadline
 */
export async function waitForFirst(call: Call, first: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  const waitMs = Math.max(0, call.deadlineAt - performance.now());
  const late = delay(waitMs, 'late', { signal: timer.signal }).catch(() => {
    // The first one came in time.
  });
  const winner = await Promise.race([first, late]);
  timer.abort();
  if (winner === 'late') throw inFlightError();
}

function inFlightError(): AppError {
  return new AppError(
    'IDEMPOTENCY_KEY_IN_FLIGHT',
    'An earlier request with this idempotency key is still under way: repeat it to get its answer.',
    { executed: 'UNKNOWN', retryAfterMs: 500 },
  );
}
