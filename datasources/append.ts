import { AppError } from '../errors.ts';
import type { Change } from './change.ts';
import type { NewChange } from './change-recorder.ts';
import type { Touched } from './heads.ts';
import type { Session } from './lane.ts';
import { DatabaseError } from './postgres.ts';
import { deadlineExceeded, waitMsOf } from './slot.ts';
import { fragment, type Rows } from './sql.ts';
import { type CollectedUnit, stateChanged } from './unit.ts';
import type { Answer, Committed, UnitRequest } from './unit-of-work.ts';
import type { LastWrite } from './unit-write.ts';

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
  /** Null: nothing is left to be written. */
  readonly write: LastWrite | null;
  readonly unit: CollectedUnit;
  /** To be stored; null: the request has no key. */
  readonly answer: Answer | null;
}

/**
 * The end of a unit of work: what is left to be written, then the one last statement, which locks
 * the heads, appends the changes and stores the answer, then COMMIT. Without an answer by the
 * deadline it may still wait for the COMMIT itself.
 *
 * @throws AppError SERIALIZATION_FAILURE when the trading state is not the expected one any more;
 * NOT_FOUND for an unknown account; with executed UNKNOWN when the connection is lost
 */
export async function append(
  session: Session,
  request: UnitRequest,
  transactionId: string,
  { write, unit: { changes, states }, answer }: Remains,
): Promise<Pick<Committed, 'commits' | 'logs'>> {
  const lines = linesOf(changes);
  const { idempotency, call } = request;
  const last = fragment<Appended>`
    /* changes.append */
    select account_id, seq, at, previous_hash, hashes from append_unit(
      ${transactionId}, ${waitMsOf(call)}, ${lines.items}::text::json,
      ${lines.befores}, ${lines.afters}, ${request.actor}, ${call.requestId}, ${request.operationName},
      ${JSON.stringify(Object.fromEntries(states))}::text::json,
      ${idempotency?.subject ?? null}, ${idempotency?.key ?? null},
      decode(${idempotency?.requestHash ?? null}, 'hex'), ${answer?.text ?? null},
      ${answer?.isShortened ?? null}::boolean)`;
  const rows = await session.commit(write === null ? [last] : [write.statement, last]).then(
    // The row type is what the statement says of itself.
    (results) => results.at(-1) as Rows<Appended>,
    (error: unknown) => {
      throw appendError(write?.failureOf(error) ?? error, changes);
    },
  );
  return {
    commits: rows.map(({ accountId, seq }) => ({ account: accountId, seq })),
    logs: rows.flatMap((row) => logOf(row, lines, request) ?? []),
  };
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

/** Changes as the statement takes them: a line of each text for each, empty where there is none. */
interface Lines {
  readonly items: string;
  readonly befores: string;
  readonly afters: string;
}

interface Item {
  readonly a: string;
  readonly e: string;
  readonly o: NewChange['operation'];
  readonly i: readonly string[];
  readonly n: number;
}

function linesOf(changes: readonly NewChange[]): Lines {
  return {
    items: JSON.stringify(changes.map(itemOf)),
    befores: changes.map(({ before }) => lineOf(before)).join('\n'),
    afters: changes.map(({ after }) => lineOf(after)).join('\n'),
  };
}

function itemOf({ accountId, entity, operation, ids, count }: NewChange): Item {
  return { a: accountId, e: entity, o: operation, i: ids, n: count ?? ids.length };
}

/** JSON has no line breaks of its own. */
function lineOf(row: object | null | undefined): string {
  return row === null || row === undefined ? '' : JSON.stringify(row);
}

function rowOf(line: string | undefined): object | null {
  return line === undefined || line === '' ? null : JSON.parse(line);
}

function logOf(
  { accountId, seq, at, previousHash, hashes }: Appended,
  lines: Lines,
  { actor, call: { requestId }, operationName }: UnitRequest,
): CommittedLog | null {
  if (hashes === null) return null;
  const firstSeq = BigInt(seq) - BigInt(hashes.length) + 1n;
  const changes = (): readonly Change[] => {
    // From the text: values that JSON leaves out or writes otherwise are as the table has them.
    const befores = lines.befores.split('\n');
    const afters = lines.afters.split('\n');
    const items: readonly Item[] = JSON.parse(lines.items);
    const own = [...items.entries()].filter(([, { a }]) => a === accountId);
    return own.map(([line, { e, o, i, n }], index) => ({
      accountId,
      seq: String(firstSeq + BigInt(index)),
      at,
      entity: e,
      operation: o,
      ids: i,
      count: n,
      before: rowOf(befores[line]),
      after: rowOf(afters[line]),
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
