import { setTimeout as delay } from 'node:timers/promises';
import { assertMay, requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { type Change, type Head, readLowestSeq } from '../datasources/change.ts';
import { requireId } from '../datasources/id.ts';
import { matchesPosition, type Position, type PositionWhere } from '../datasources/position.ts';
import { withSnapshot } from '../datasources/snapshot.ts';
import { AppError } from '../errors.ts';
import type { Watch } from './change-feed.ts';
import { createConflation } from './conflation.ts';
import { type Cursor, canResume, decodeCursor, encodeCursor } from './cursor.ts';
import { stream } from './stream.ts';

export type EventKind = 'SNAPSHOT' | 'CAUGHT_UP' | 'CHANGE' | 'LEFT' | 'HEARTBEAT' | 'RESET';

export interface PositionEvent {
  readonly kind: EventKind;
  readonly cursor: string;
  readonly seq: string;
  readonly previousSeq: string | null;
  readonly at: string;
  readonly operation: Change['operation'] | null;
  readonly position: Position | null;
  readonly before: unknown;
  readonly fromSeq: string | null;
  readonly actor: string | null;
}

export interface PositionChangesInput {
  readonly account?: string | null;
  readonly where?: PositionWhere | null;
  readonly after?: string | null;
  readonly snapshot?: boolean | null;
  readonly marks?: boolean | null;
  readonly minIntervalMs?: number | null;
}

export const MIN_INTERVAL_MS_MAX = 60_000;
export const SNAPSHOT_ROWS_MAX = 100_000;
const SNAPSHOT_PAGE_ROWS = 1000;
const RETRY_MS = 250;

/**
 * Committed changes of positions in commit order; see the contract for the events. With a cursor
 * that can be resumed the changes after it come first; with one that cannot, RESET. A snapshot is
 * sent when it was asked for and nothing was resumed. Ends when the client goes, or with an error
 * when its key has ended.
 *
 * @throws AppError BAD_INPUT, FORBIDDEN, NOT_FOUND, UNAUTHENTICATED; QUERY_TOO_EXPENSIVE over
 * 100,000 rows of snapshot
 */
export function positionChanges(
  context: Context,
  input: PositionChangesInput,
): AsyncGenerator<PositionEvent, void, undefined> {
  // Checked before the first event is asked for, so that a refusal is an answer and no stream.
  const accountId = requireAccount(context.actor, input.account, 'positions:read');
  const where = toWhere(accountId, input.where);
  const minIntervalMs = intervalOf(input.minIntervalMs);
  const after = input.after ? decodeCursor(input.after) : null;
  return stream(async function* (signal) {
    const watch = context.services.feed.watch(accountId);
    try {
      const hasSnapshot = input.snapshot ?? false;
      const reader = { context, accountId, where, watch, signal, minIntervalMs, hasSnapshot };
      yield* follow(reader, yield* start(reader, after));
    } finally {
      watch.release();
    }
  });
}

/** Where the stream begins: after its cursor, or anew. */
async function* start(
  reader: Reader,
  after: Cursor | null,
): AsyncGenerator<PositionEvent, Place, undefined> {
  const { context, accountId } = reader;
  const { feed } = context.services;
  const head = await context.datasources.changes.getHead(accountId);
  if (after !== null) {
    if (canResume(after, head, await feed.catchUp(() => lowest(reader)))) {
      return { head, seq: after.seq, previousSeq: after.seq, goalSeq: Number(head.seq) };
    }
    yield plainEvent('RESET', head);
  }
  const begun = yield* begin(reader, head);
  return { head: begun, seq: Number(begun.seq), previousSeq: Number(begun.seq), goalSeq: null };
}

/** What a stream reads with. */
interface Reader {
  readonly hasSnapshot: boolean;
  readonly context: Context;
  readonly accountId: string;
  readonly where: PositionWhere;
  readonly watch: Watch;
  readonly signal: AbortSignal;
  readonly minIntervalMs: number;
}

function toWhere(accountId: string, where: PositionWhere | null | undefined): PositionWhere {
  if (!where) return {};
  const ids = where.ids?.map((id, index) =>
    requireId(id, 'position', accountId, ['where', 'ids', String(index)]),
  );
  return { ...where, ids: ids ?? null };
}

function intervalOf(minIntervalMs: number | null | undefined): number {
  const chosen = minIntervalMs ?? 0;
  if (chosen >= 0 && chosen <= MIN_INTERVAL_MS_MAX) return chosen;
  throw new AppError('BAD_INPUT', `minIntervalMs must be 0 to ${MIN_INTERVAL_MS_MAX}.`, {
    path: ['minIntervalMs'],
  });
}

function lowest({ context, accountId }: Reader): Promise<string | null> {
  return readLowestSeq(context.services.database.interactive.sql(context.call), accountId);
}

/** The state, where it was asked for, and CAUGHT_UP; the head after which changes follow. */
async function* begin(reader: Reader, head: Head): AsyncGenerator<PositionEvent, Head, undefined> {
  if (!reader.hasSnapshot) {
    yield plainEvent('CAUGHT_UP', head);
    return head;
  }
  const { feed } = reader.context.services;
  const snapshot = await feed.catchUp(() => readSnapshot(reader));
  for (const position of snapshot.rows) {
    yield { ...plainEvent('SNAPSHOT', snapshot.head), position };
  }
  yield plainEvent('CAUGHT_UP', snapshot.head);
  return snapshot.head;
}

/** The head and the rows that match at one moment of the database. */
async function readSnapshot({
  context,
  accountId,
  where,
}: Reader): Promise<{ readonly head: Head; readonly rows: readonly Position[] }> {
  return withSnapshot(context.services.database, context.call, async (datasources) => {
    const head = await datasources.changes.getHead(accountId);
    const rows: Position[] = [];
    let after: string | null = null;
    for (;;) {
      const cut = { after, before: null, isDescending: false, limit: SNAPSHOT_PAGE_ROWS };
      const page: readonly Position[] = await datasources.positions.list(accountId, where, cut);
      rows.push(...page);
      if (page.length < SNAPSHOT_PAGE_ROWS) return { head, rows };
      if (rows.length >= SNAPSHOT_ROWS_MAX) throw tooManyRows();
      after = page.at(-1)?.id ?? null;
    }
  });
}

function tooManyRows(): AppError {
  return new AppError(
    'QUERY_TOO_EXPENSIVE',
    `More than ${SNAPSHOT_ROWS_MAX} positions match: narrow where, for example to status OPEN.`,
    { path: ['where'] },
  );
}

/** Where a stream is: in which history, and up to which change. */
interface Place {
  readonly head: Head;
  seq: number;
  /** Of the last change that concerned this stream, or where it began. */
  previousSeq: number;
  /** CAUGHT_UP is due when this seq is reached; null once it was sent. */
  goalSeq: number | null;
}

/** Changes after a place for as long as the client stays. */
async function* follow(
  reader: Reader,
  start: Place,
): AsyncGenerator<PositionEvent, void, undefined> {
  const { watch, signal } = reader;
  const { heartbeatMs } = reader.context.services;
  const conflation = createConflation(reader.minIntervalMs);
  let place = start;
  let { generation } = watch;
  let silentSinceMs = performance.now();
  while (!signal.aborted) {
    if (watch.generation !== generation) {
      ({ generation } = watch);
      const next = yield* resetIfLost(reader, place);
      if (next !== place) conflation.clear();
      place = next;
    }
    const changes = await readOn(reader, place.seq);
    for (const change of changes) {
      place.seq = Number(change.seq);
      const event = eventOf(change, place.head.epoch, reader.where);
      if (event !== null) conflation.add(event);
    }
    for (const event of conflation.due(performance.now())) {
      assertStillMay(reader);
      yield { ...event, previousSeq: String(place.previousSeq) };
      place.previousSeq = Number(event.seq);
      silentSinceMs = performance.now();
    }
    // A cursor must not stand beyond an event that is held back: resuming there would lose it.
    if (place.goalSeq !== null && place.seq >= place.goalSeq && conflation.isEmpty) {
      yield plainEvent('CAUGHT_UP', { ...place.head, seq: String(place.seq) });
      place.goalSeq = null;
    }
    const silentMs = performance.now() - silentSinceMs;
    if (silentMs >= heartbeatMs && conflation.isEmpty) {
      assertStillMay(reader);
      yield { ...plainEvent('HEARTBEAT', { ...place.head, seq: String(place.seq) }), at: now() };
      silentSinceMs = performance.now();
    }
    if (changes.length > 0) continue;
    const heldMs = conflation.waitMs(performance.now());
    await watch.wait(place.seq, heldMs ?? Math.max(1, heartbeatMs - silentMs), signal);
  }
}

/** The same place, or, where the database was restored to before it, RESET and a new beginning. */
async function* resetIfLost(
  reader: Reader,
  place: Place,
): AsyncGenerator<PositionEvent, Place, undefined> {
  const { context, accountId } = reader;
  const head = await context.datasources.changes.getHead(accountId);
  if (head.epoch === place.head.epoch && Number(head.seq) >= place.seq) return place;
  yield plainEvent('RESET', head);
  const begun = yield* begin(reader, head);
  return { head: begun, seq: Number(begun.seq), previousSeq: Number(begun.seq), goalSeq: null };
}

/** Changes after a seq; while the database is away the reader waits, it loses nothing. */
async function readOn({ context, watch, signal }: Reader, seq: number): Promise<readonly Change[]> {
  while (!signal.aborted) {
    try {
      return await watch.read(seq, context.call);
    } catch (error) {
      if (!(error instanceof AppError && error.isRetryable)) throw error;
      await delay(RETRY_MS, undefined, { signal }).catch(() => {
        // Aborted: the loop ends.
      });
    }
  }
  return [];
}

/** @throws AppError UNAUTHENTICATED once the key is revoked or has expired; FORBIDDEN */
function assertStillMay({ context, accountId }: Reader): void {
  if (!context.services.isCurrent(context.actor)) {
    throw new AppError('UNAUTHENTICATED', 'The key was revoked or has expired.');
  }
  assertMay(context.actor, 'positions:read', accountId);
}

/** What a change means to a subscription; null where it does not concern it. */
function eventOf(change: Change, epoch: string, where: PositionWhere): PositionEvent | null {
  if (change.entity !== 'position') return null;
  // A position's change holds its whole rows.
  const before = change.before as Position | null;
  const after = change.after as Position | null;
  const didMatch = before !== null && matchesPosition(where, before);
  const doesMatch = after !== null && matchesPosition(where, after);
  if (!didMatch && !doesMatch) return null;
  return {
    kind: doesMatch ? 'CHANGE' : 'LEFT',
    cursor: encodeCursor({ epoch, seq: Number(change.seq) }),
    seq: change.seq,
    previousSeq: null,
    at: change.at,
    operation: change.operation,
    position: after ?? before,
    before,
    fromSeq: null,
    actor: change.actor,
  };
}

function plainEvent(kind: EventKind, head: Head): PositionEvent {
  return {
    kind,
    cursor: encodeCursor({ epoch: head.epoch, seq: Number(head.seq) }),
    seq: head.seq,
    previousSeq: null,
    at: head.at,
    operation: null,
    position: null,
    before: null,
    fromSeq: null,
    actor: null,
  };
}

function now(): string {
  return `${new Date().toISOString().slice(0, 23)}000Z`;
}
