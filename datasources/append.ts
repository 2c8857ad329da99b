import { AppError } from '../errors.ts';
import type { Change } from './change.ts';
import type { NewChange } from './change-recorder.ts';
import type { Session } from './lane.ts';
import { DatabaseError } from './postgres.ts';
import type { CollectedUnit } from './unit.ts';
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

/** An account's part of what was appended. */
interface Appended {
  readonly accountId: string | null;
  /** Of its last change. */
  readonly seq: string | null;
  readonly transactionId: string;
  readonly at: string | null;
  readonly previousHash: string | null;
  /** Null: there are too many to tell. */
  readonly hashes: readonly string[] | null;
}

/**
 * The one last statement of a unit of work: it locks the heads, appends the changes and stores the
 * answer. What it returns is true once COMMIT is; `transactionId` is null when nothing was written.
 *
 * @throws AppError SERIALIZATION_FAILURE when the trading state is not the expected one any more;
 * NOT_FOUND for an unknown account
 */
export async function append(
  session: Session,
  request: UnitRequest,
  unit: CollectedUnit,
  answer: Answer | null,
): Promise<Committed & { readonly transactionId: string | null }> {
  const { changes, states } = unit;
  const entities = new Set(changes.map(({ entity }) => entity));
  if (changes.length === 0 && states.size === 0 && answer === null) {
    return { commits: [], entities, logs: [], transactionId: null };
  }
  const items = JSON.stringify(changes.map(itemOf));
  const { idempotency } = request;
  const rows = await session.sql<Appended>`
    /* changes.append */
    select account_id, seq, transaction_id, at, previous_hash, hashes from append_changes(
      ${items}::text::json, ${request.actor}, ${request.call.requestId},
      ${request.operationName}, ${JSON.stringify(Object.fromEntries(states))}::text::json,
      ${idempotency?.subject ?? null}, ${idempotency?.key ?? null},
      decode(${idempotency?.requestHash ?? null}, 'hex'), ${answer?.text ?? null},
      ${answer?.isShortened ?? null}::boolean)`.then(undefined, (error: unknown) => {
    throw appendError(error, changes);
  });
  return {
    commits: rows.flatMap(({ accountId, seq }) =>
      accountId === null || seq === null ? [] : [{ account: accountId, seq }],
    ),
    entities,
    logs: rows.flatMap((row) => logOf(row, items, request) ?? []),
    transactionId: rows[0]?.transactionId ?? null,
  };
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
  if (accountId === null || seq === null || at === null) return null;
  if (previousHash === null || hashes === null) return null;
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
  if (error.sqlState !== TRADING_STATE_CHANGED) return error;
  // Run again, the unit decides by the new state.
  return new AppError('SERIALIZATION_FAILURE', 'The trading state changed meanwhile: try again.', {
    cause: error,
  });
}

function unknownAccount(changes: readonly NewChange[]): AppError {
  const names = new Set(changes.map(({ accountId }) => JSON.stringify(accountId)));
  return new AppError('NOT_FOUND', `There is no account ${[...names].sort().join(', or ')}.`, {
    path: ['account'],
  });
}
