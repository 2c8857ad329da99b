import { AppError } from '../errors.ts';
import type { Change } from './change.ts';
import type { NewChange } from './change-recorder.ts';
import type { Touched } from './heads.ts';
import type { Call, Session } from './lane.ts';
import { DatabaseError } from './postgres.ts';
import { deadlineExceeded } from './slot.ts';
import { type CollectedUnit, stateChanged } from './unit.ts';
import type { Answer, Committed, UnitRequest } from './unit-of-work.ts';

/** The last change of an account that a unit of work touched. */
export interface Commit {
  readonly account: string;
  readonly seq: string;
}

/** All changes of one account that a unit appended, as the log has them. */
export interface CommittedLog {
  readonly accountId: string;
  /** Hex, of the change before the first of these; empty: there is none. */
  readonly previousHash: string;
  /** As they are read from the table, made when asked for; in the order of their seqs. */
  changes(): readonly Change[];
}

const TRADING_STATE_CHANGED = 'TW001';
const UNKNOWN_ACCOUNT = 'TW002';
const LOCK_TIMEOUT = '55P03';
const WAIT_MS_MAX = 600_000;

/** An account's part of what was appended. */
interface Appended {
  readonly accountId: string;
  /** Of its last change. */
  readonly seq: string;
  readonly at: string;
  readonly previousHash: string;
  /** Null: there are too many to tell. */
  readonly hashes: readonly string[] | null;
}

/** What a unit of work leaves behind. */
export interface Remains {
  readonly unit: CollectedUnit;
  /** To be stored; null: the request has no key. */
  readonly answer: Answer | null;
}

/**
 * The one last statement of a unit of work: it locks the heads, appends the changes, stores the
 * answer and commits. Without an answer by the deadline it may still wait for the COMMIT itself.
 *
 * @throws AppError SERIALIZATION_FAILURE when the trading state is not the expected one any more;
 * NOT_FOUND for an unknown account; with executed UNKNOWN when the connection is lost
 */
export async function append(
  session: Session,
  request: UnitRequest,
  transactionId: string,
  { unit: { changes, states }, answer }: Remains,
): Promise<Pick<Committed, 'commits' | 'logs'>> {
  const items = JSON.stringify(changes.map(itemOf));
  const { idempotency, call } = request;
  const rows = await session.commitSql<Appended>`
    /* changes.append */
    select account_id, seq, at, previous_hash, hashes from append_unit(
      ${transactionId}, ${waitMsOf(call)}, ${items}::text::json, ${request.actor},
      ${call.requestId}, ${request.operationName},
      ${JSON.stringify(Object.fromEntries(states))}::text::json,
      ${idempotency?.subject ?? null}, ${idempotency?.key ?? null},
      decode(${idempotency?.requestHash ?? null}, 'hex'), ${answer?.text ?? null},
      ${answer?.isShortened ?? null}::boolean)`.then(undefined, (error: unknown) => {
    throw appendError(error, changes);
  });
  return {
    commits: rows.map(({ accountId, seq }) => ({ account: accountId, seq })),
    logs: rows.flatMap((row) => logOf(row, items, request) ?? []),
  };
}

/** How long it may wait for a head that another one has locked. */
function waitMsOf({ deadlineAt }: Call): number {
  return Math.max(1, Math.min(WAIT_MS_MAX, Math.ceil(deadlineAt - performance.now())));
}

/** What a unit has touched: the changes of an account have the seqs up to its commit's. */
export function touchedBy(
  commits: readonly Commit[],
  changes: readonly NewChange[],
): readonly Touched[] {
  return commits.map(({ account, seq }) => {
    const own = changes.filter(({ accountId }) => accountId === account);
    const before = Number(seq) - own.length;
    const entitySeqs = new Map(own.map(({ entity }, index) => [entity, before + index + 1]));
    return { accountId: account, seq: Number(seq), entitySeqs };
  });
}

/** A change as the statement takes it. */
interface Item {
  readonly a: string;
  readonly e: string;
  readonly o: NewChange['operation'];
  readonly i: readonly string[];
  readonly n: number;
  readonly b: object | null;
  readonly f: object | null;
}

function itemOf(change: NewChange): Item {
  return {
    a: change.accountId,
    e: change.entity,
    o: change.operation,
    i: change.ids,
    n: change.count ?? change.ids.length,
    b: change.before ?? null,
    f: change.after ?? null,
  };
}

function logOf(
  { accountId, seq, at, previousHash, hashes }: Appended,
  items: string,
  { actor, call: { requestId }, operationName }: UnitRequest,
): CommittedLog | null {
  if (hashes === null) return null;
  const firstSeq = BigInt(seq) - BigInt(hashes.length) + 1n;
  const changes = (): readonly Change[] => {
    // From the text: values that JSON leaves out or writes otherwise are as the table has them.
    const own = (JSON.parse(items) as readonly Item[]).filter(({ a }) => a === accountId);
    return own.map(({ e, o, i, n, b, f }, index) => ({
      accountId,
      seq: String(firstSeq + BigInt(index)),
      at,
      entity: e,
      operation: o,
      ids: i,
      count: n,
      before: b,
      after: f,
      actor,
      requestId,
      operationName,
      hash: hashes[index] ?? '',
    }));
  };
  return { accountId, previousHash, changes };
}

function appendError(error: unknown, changes: readonly NewChange[]): unknown {
  if (!(error instanceof DatabaseError)) return error;
  if (error.sqlState === UNKNOWN_ACCOUNT) return unknownAccount(changes);
  if (error.sqlState === LOCK_TIMEOUT) return deadlineExceeded();
  return error.sqlState === TRADING_STATE_CHANGED ? stateChanged(error) : error;
}

function unknownAccount(changes: readonly NewChange[]): AppError {
  const names = new Set(changes.map(({ accountId }) => JSON.stringify(accountId)));
  return new AppError('NOT_FOUND', `There is no account ${[...names].sort().join(', or ')}.`, {
    path: ['account'],
  });
}
