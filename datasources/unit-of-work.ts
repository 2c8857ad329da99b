import { AppError } from '../errors.ts';
import { append, type Commit, type CommittedLog, type Remains, touchedBy } from './append.ts';
import type { ChangeRecorder } from './change-recorder.ts';
import { readCommits, settleCommit } from './commit.ts';
import type { Database } from './database.ts';
import { createHoldingDatasources, type Datasources } from './datasources.ts';
import { holdWrites } from './held-writes.ts';
import {
  findStoredAnswer,
  hasStoredAnswer,
  type IdempotencyKey,
  type StoredAnswer,
  takeKey,
  waitForFirst,
  waitForKey,
} from './idempotency.ts';
import type { Touched } from './heads.ts';
import type { Call, Session } from './lane.ts';
import { DatabaseError } from './postgres.ts';
import { MissingPartitionError } from './prediction.ts';
import { withRetry } from './resilience.ts';
import { type CollectedUnit, createUnit, withoutSecrets } from './unit.ts';

export type BatchMode = 'ATOMIC' | 'PER_ITEM' | 'VALIDATE_ONLY';

/** What the code of a mutation sees of its unit of work. */
export interface Unit extends ChangeRecorder {
  /**
   * Says in which mode a field works, and on how many items; of how many the operation now.
   *
   * @throws AppError BAD_INPUT when some fields only validate and others do not
   */
  enter(mode: BatchMode, items?: number): number;
  /** Says that this text is answered once: an answer that is stored has an empty text instead. */
  withhold(secret: string): void;
}

export interface UnitRequest {
  readonly call: Call;
  readonly actor: string;
  readonly operationName: string | null;
  readonly idempotency: IdempotencyKey | null;
}

/** What one attempt of the work came to. */
export interface Attempt<Response> {
  readonly response: Response;
  /** Null: it may be committed. Anything else rolls it back; what can be repeated is. */
  readonly failure: unknown;
  /** The response as a repeat gets it; called once, and only for a request with a key. */
  serialize(response: Response): Answer;
}

/** An answer as it is stored; shortened: something that the first one had is left out. */
export interface Answer {
  readonly text: string;
  readonly isShortened: boolean;
}

export type Outcome<Response> =
  | ({ readonly kind: 'committed'; readonly response: Response } & Committed)
  | { readonly kind: 'refused'; readonly response: Response }
  | { readonly kind: 'replayed'; readonly answer: StoredAnswer };

export type UnitWork<Response> = (
  datasources: Datasources,
  unit: Unit,
) => Promise<Attempt<Response>>;

/** What a unit has committed. */
export interface Committed {
  /** One for each account with changes. */
  readonly commits: readonly Commit[];
  /** The entities that have changes. */
  readonly entities: ReadonlySet<string>;
  /** The same by account, with seqs. */
  readonly touched: readonly Touched[];
  /** The changes themselves, of the accounts where there are few. */
  readonly logs: readonly CommittedLog[];
}

/**
 * Told of each commit that changed something before it is answered: what it returns is waited for,
 * up to a second.
 */
export type OnCommit = (committed: Committed) => Promise<void> | void;

/** Told of commits that `OnCommit` is not told of, before their requests are answered. */
export interface OtherCommits {
  /** These were made by an earlier request, maybe on another node. */
  replayed(commits: readonly Commit[]): void;
  /** Nobody can say whether a commit took place. */
  unknown(): void;
}

export interface UnitsOfWork {
  /**
   * Runs `work` in one transaction and commits it, or nothing of it. It may run more than once:
   * after a deadlock, a serialization failure, a connection lost before COMMIT, or a trading state
   * that changed meanwhile. With a key its effect takes place once, whatever happens.
   *
   * @throws AppError UNAVAILABLE (executed UNKNOWN) when not even the database can say whether the
   * COMMIT took place; IDEMPOTENCY_KEY_REUSED; IDEMPOTENCY_KEY_IN_FLIGHT; DEADLINE_EXCEEDED
   */
  run<Response>(request: UnitRequest, work: UnitWork<Response>): Promise<Outcome<Response>>;
}

const PARTITION_ROUNDS_MAX = 3;
const ON_COMMIT_MS_MAX = 1000;
/** A table that is there, a range that is taken, a catalog row that changed under us. */
const MADE_MEANWHILE: ReadonlySet<string | null> = new Set(['42P07', '42P17', 'XX000']);
/** Unique keys that are looked up before they are inserted: the next run finds what is there. */
const TAKEN_MEANWHILE: ReadonlySet<string | null> = new Set([
  'idempotency_keys_pkey',
  'trades_account_id_client_id_key',
]);

/** Thrown inside to leave the transaction with an outcome of another one. */
class KeyHeldElsewhere extends Error {}

/** `onError` is given what `onCommit` throws: it changes nothing of what is answered. */
export function createUnitsOfWork(
  database: Database,
  onCommit: OnCommit,
  onError: (error: unknown) => void = ignore,
  others?: OtherCommits,
): UnitsOfWork {
  // Repeats that arrive at this node while the first is under way wait here, without a connection.
  const inFlight = new Map<string, Promise<unknown>>();

  /** What is committed is answered as that, whatever those who are told of it do. */
  async function tell(committed: Committed): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    try {
      const told = onCommit(committed);
      if (told === undefined) return;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ON_COMMIT_MS_MAX);
      });
      await Promise.race([told, late]);
    } catch (error) {
      onError(error);
    } finally {
      clearTimeout(timer);
    }
  }

  async function attempts<Response>(
    request: UnitRequest,
    work: UnitWork<Response>,
  ): Promise<Outcome<Response>> {
    const outcome = await withRetry(
      request.call,
      () => withPartitions(database, request.call, () => attempt(database, request, work)),
      mayRunAgain,
    ).catch((error: unknown) => {
      if (error instanceof AppError && error.executed === 'UNKNOWN') others?.unknown();
      throw error;
    });
    if (outcome.kind === 'committed' && outcome.commits.length > 0) await tell(outcome);
    return outcome;
  }

  async function runWithKey<Response>(
    request: UnitRequest,
    idempotency: IdempotencyKey,
    work: UnitWork<Response>,
  ): Promise<Outcome<Response>> {
    for (let waits = 0; ; waits += 1) {
      try {
        return await attempts(request, work);
      } catch (error) {
        if (!(error instanceof KeyHeldElsewhere)) throw error;
      }
      await waitForKey(request.call, waits);
      const sql = database.interactive.sql(request.call);
      const stored = await findStoredAnswer(sql, idempotency);
      if (stored !== null) return { kind: 'replayed', answer: stored };
    }
  }

  return {
    async run(request, work) {
      const { idempotency } = request;
      if (idempotency === null) return attempts(request, work);
      const name = `${idempotency.subject} ${idempotency.key}`;
      for (let first = inFlight.get(name); first; first = inFlight.get(name)) {
        await waitForFirst(request.call, first);
      }
      const running = runWithKey(request, idempotency, work);
      const settled = running.then(ignore, ignore);
      inFlight.set(name, settled);
      try {
        const outcome = await running;
        if (outcome.kind === 'replayed') others?.replayed(outcome.answer.commits);
        return outcome;
      } finally {
        inFlight.delete(name);
      }
    },
  };
}

async function attempt<Response>(
  database: Database,
  request: UnitRequest,
  work: UnitWork<Response>,
): Promise<Outcome<Response>> {
  return database.trading.withSession(request.call, async (session) => {
    // What only reads or locks is sent behind BEGIN at once. Whatever writes waits for its answer:
    // without a transaction it would stay.
    const begun = session.begin();
    begun.catch(ignore);
    try {
      const prepared = await prepare({ session, begun }, request, work);
      if (prepared.kind !== 'ready') {
        // A deadline that passed has cut the connection: its error is the answer.
        if (!session.isLost) await session.command('rollback');
        return prepared;
      }
      const transactionId = await begun;
      const committed = await commit(database, session, request, { ...prepared, transactionId });
      return { kind: 'committed', response: prepared.response, ...committed };
    } catch (error) {
      // A lost connection has rolled back by itself and takes no further command.
      if (session.isInTransaction && !session.isLost) await session.command('rollback');
      throw error;
    }
  });
}

/** The work is done, and only the last statements and COMMIT are left. */
interface Ready<Response> extends Remains {
  readonly kind: 'ready';
  readonly response: Response;
}

type Prepared<Response> =
  | Ready<Response>
  | Exclude<Outcome<Response>, { readonly kind: 'committed' }>;

/** Everything up to the last statements. */
async function prepare<Response>(
  { session, begun }: { readonly session: Session; readonly begun: Promise<string> },
  request: UnitRequest,
  work: UnitWork<Response>,
): Promise<Prepared<Response>> {
  if (request.idempotency !== null) {
    await begun;
    const { isTaken, stored } = await takeKey(session.sql, request.idempotency);
    if (stored !== null) return { kind: 'replayed', answer: stored };
    if (!isTaken) throw new KeyHeldElsewhere('the key is held by another transaction');
  }
  const unit = createUnit(request.actor);
  const held = holdWrites(session.sql, begun);
  const { response, failure, serialize } = await work(
    createHoldingDatasources(held, unit.handle),
    unit.handle,
  );
  if (failure !== null) {
    if (mayRunAgain(failure) || failure instanceof MissingPartitionError) throw failure;
    return { kind: 'refused', response };
  }
  if (unit.mode() === 'VALIDATE_ONLY') {
    // Though it is rolled back: the database has its own say in what is valid.
    await held.flush();
    return { kind: 'refused', response };
  }
  const answer =
    request.idempotency === null ? null : withoutSecrets(serialize(response), unit.secrets);
  const write = await held.last(await begun, request.call);
  return { kind: 'ready', response, write, unit, answer };
}

/**
 * Sends the last statements with COMMIT and returns when the transaction is known to be committed.
 *
 * @throws a DatabaseError that may run again when it is known not to be
 */
async function commit(
  database: Database,
  session: Session,
  request: UnitRequest,
  { transactionId, ...remains }: Remains & { readonly transactionId: string },
): Promise<Committed> {
  const { unit } = remains;
  const entities = new Set(unit.changes.map(({ entity }) => entity));
  if (isEmpty(remains)) {
    await session.command('commit');
    return { commits: [], entities, touched: [], logs: [] };
  }
  try {
    const appended = await append(session, request, transactionId, remains);
    return { ...appended, entities, touched: touchedBy(appended.commits, unit.changes) };
  } catch (error) {
    if (!session.isLost || !isUnknown(error)) throw error;
    const commits = await settle(database, request, transactionId, unit, error);
    // What it appended is read from the table by whoever follows the log.
    return { commits, entities, touched: touchedBy(commits, unit.changes), logs: [] };
  }
}

function isEmpty({ write, unit: { changes, states }, answer }: Remains): boolean {
  return write === null && changes.length === 0 && states.size === 0 && answer === null;
}

function isUnknown(error: unknown): boolean {
  return error instanceof AppError && error.executed === 'UNKNOWN';
}

/** The commits of a unit whose COMMIT got no answer, if it took place. */
async function settle(
  database: Database,
  request: UnitRequest,
  transactionId: string,
  unit: CollectedUnit,
  cause: unknown,
): Promise<readonly Commit[]> {
  const accountIds = [...new Set(unit.changes.map(({ accountId }) => accountId))];
  let commits: readonly Commit[] = [];
  // A server that crashed gives the ids of lost transactions to others: what counts is our own row.
  const fate = await settleCommit(database, request.call, transactionId, async (sql) => {
    if (accountIds.length === 0) return hasStoredAnswer(sql, request.idempotency);
    commits = await readCommits(sql, accountIds, request.call.requestId, transactionId);
    return commits.length === accountIds.length;
  });
  if (fate === 'committed') return commits;
  if (fate === 'aborted') throw new AbortedCommit(cause);
  throw new AppError(
    'UNAVAILABLE',
    'The connection was lost during COMMIT and the database cannot say yet whether it took ' +
      'place: repeat the request with its idempotency key.',
    { executed: 'UNKNOWN', retryAfterMs: 1000, cause },
  );
}

/** The connection was lost during COMMIT and the transaction is known to have been rolled back. */
class AbortedCommit extends AppError {
  constructor(cause: unknown) {
    super('UNAVAILABLE', 'The connection to the database was lost.', { cause, retryAfterMs: 100 });
  }
}

function mayRunAgain(error: unknown): boolean {
  if (!(error instanceof AppError) || error.executed !== 'NO') return false;
  if (error instanceof AbortedCommit || error.code === 'SERIALIZATION_FAILURE') return true;
  if (!(error instanceof DatabaseError)) return false;
  // A second unit with the same key committed between our look and our insert.
  if (error.sqlState === '23505' && TAKEN_MEANWHILE.has(error.constraint)) return true;
  return error.isConnectionLost;
}

/** Each field of an operation may need months of its own, and stops the operation at the first. */
async function withPartitions<T>(
  database: Database,
  call: Call,
  run: () => Promise<T>,
): Promise<T> {
  const rounds = new Map<string, number>();
  while (true) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof MissingPartitionError)) throw error;
      for (const month of error.months) {
        const round = (rounds.get(month) ?? 0) + 1;
        // Another node may be making it: it is there, and our connection learns of it a moment later.
        if (round > PARTITION_ROUNDS_MAX) throw error;
        rounds.set(month, round);
      }
      await createPartitions(database, call, error.months);
    }
  }
}

async function createPartitions(
  database: Database,
  call: Call,
  months: readonly string[],
): Promise<void> {
  const sql = database.interactive.sql(call);
  try {
    await sql`
      /* predictions.createPartitions */
      select create_prediction_partitions(month) from unnest(${months}::date[]) as month
      order by month`;
  } catch (error) {
    // Whether another one made it meanwhile is told by the next run.
    if (!(error instanceof DatabaseError) || !MADE_MEANWHILE.has(error.sqlState)) throw error;
  }
}

function ignore(): void {
  // The outcome belongs to whoever started it.
}
