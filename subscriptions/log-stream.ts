import { assertMay, type Permission } from '../access.ts';
import type { Context } from '../context.ts';
import type { Change, ChangeOperation, Head } from '../datasources/change.ts';
import { type Cursor, decodeCursor, encodeCursor } from '../datasources/cursor.ts';
import type { Call } from '../datasources/lane.ts';
import { AppError } from '../errors.ts';
import type { FeedReader, Watch } from './change-feed.ts';
import { createConflation, type Told } from './conflation.ts';
import { type Opening, open, plainEvent, reopen } from './opening.ts';
import { NO_PACE, type Pace } from './pace.ts';
import type { SharedEvent, Stand } from './sharing.ts';

export type EventKind = 'SNAPSHOT' | 'CAUGHT_UP' | 'CHANGE' | 'LEFT' | 'HEARTBEAT' | 'RESET';

/** What a stream over the log of an account sends, whatever its rows are. */
export interface LogEvent<Row> {
  readonly kind: EventKind;
  readonly cursor: string;
  readonly seq: string;
  /** Null where there is nothing to compare it with: the state is new. */
  readonly previousSeq: string | null;
  /** Of a change its commit, else when the event was made. */
  readonly at: string;
  readonly operation: ChangeOperation | null;
  readonly row: Row | null;
  readonly before: unknown;
  readonly fromSeq: string | null;
  readonly actor: string | null;
}

/** One row that a change touched, as a subscription is told of it. */
export interface Match<Row> {
  /** The same for the same row. */
  readonly key: string;
  readonly isLeft: boolean;
  readonly row: Row | null;
  readonly before: unknown;
}

/** What one change tells, in the order it is to be sent; empty: nothing. */
export type Matches<Row> = readonly Match<Row>[];

/** Of changes that are read at once. Only what has to be read is waited for. */
export type Found<Row> = readonly Matches<Row>[] | Promise<readonly Matches<Row>[]>;

/** Where each change is looked at by itself. */
export function eachChange<Row>(
  matches: (change: Change) => Matches<Row>,
): (changes: readonly Change[]) => readonly Matches<Row>[] {
  return (changes) => changes.map(matches);
}

/** Of a change of one row, which holds the whole of it, before and after. */
export function matchesOfRow<Row extends { readonly id: string }>(
  change: Change,
  matches: (row: Row) => boolean,
): Matches<Row> {
  const before = change.before as Row | null;
  const after = change.after as Row | null;
  const row = after ?? before;
  const isIn = after !== null && matches(after);
  const wasIn = before !== null && matches(before);
  if (row === null || !(isIn || wasIn)) return [];
  return [{ key: row.id, isLeft: !isIn, row, before }];
}

export interface Snapshot<Row> {
  readonly head: Head;
  readonly rows: readonly Row[];
}

/** What is streamed, to whom and from where. */
export interface LogStream<Row, Event> {
  readonly context: Context;
  readonly accountId: string;
  readonly permission: Permission;
  toEvent(event: LogEvent<Row>): Event;
  /** What each of these changes means to this subscription, in their order. */
  matches(changes: readonly Change[], reader: FeedReader, watch: Watch): Found<Row>;
  /** Reads the head and the rows of one moment; null: no snapshot is asked for. */
  readonly readSnapshot: ((call: Call) => Promise<Snapshot<Row>>) | null;
  /** Where to resume; null: at the head. */
  readonly after: Cursor | null;
  /** 0: every event. */
  readonly minIntervalMs: number;
}

/**
 * Where a stream goes on: after the event that its client names as the last one it has had, else
 * after `after`, else nowhere. A browser that connects again sends what it has sent before, and its
 * place in the header: the header is newer.
 *
 * @throws AppError BAD_INPUT for what is no cursor
 */
export function resumeAt(
  { lastEventId }: Context,
  after: string | null | undefined,
): Cursor | null {
  if (lastEventId !== null) return decodeCursor(lastEventId, ['headers', 'last-event-id']);
  return typeof after === 'string' ? decodeCursor(after) : null;
}

/** A key that has ended is noticed after this long, however seldom a stream says something. */
const PERMISSION_CHECK_MS = 10_000;

/**
 * The committed changes of an account that concern a subscription, in commit order, from a cursor,
 * a snapshot or the head. Between its events it waits for changes, its heartbeat and the database,
 * and for none of them once its signal is aborted.
 *
 * @throws AppError NOT_FOUND, UNAVAILABLE when it cannot begin; SLOW_CONSUMER when its snapshot
 * was given up, or when it does not keep up; UNAUTHENTICATED, FORBIDDEN once the actor may no longer
 */
export async function* streamLog<Row, Event extends SharedEvent>(
  options: LogStream<Row, Event>,
  signal: AbortSignal,
): AsyncGenerator<Event, void, undefined> {
  const reading = beginReading(options, signal);
  const { watch, reader, pace } = reading;
  try {
    let opening = await open(options, watch, reader);
    for (;;) {
      for (const event of opening.events) {
        assertStillMay(options);
        pace.offer(event.cursor, event.seq);
        yield options.toEvent(event);
        pace.taken();
      }
      yield* follow(options, opening, reading);
      opening = await reopen(options, watch, reader);
    }
  } finally {
    pace.close();
    watch.release();
  }
}

/** What a stream has in hand as long as it reads. */
interface Reading {
  readonly watch: Watch;
  readonly reader: FeedReader;
  readonly pace: Pace;
}

function beginReading<Row, Event>(
  { context, accountId }: LogStream<Row, Event>,
  signal: AbortSignal,
): Reading {
  const { requestId, operationName, services, sharing } = context;
  const watch = services.feed.watch(accountId);
  const pace = services.feed.paces.open({
    headSeq: () => watch.headSeq(),
    unsentBytes: () => sharing?.sink.unsentBytes ?? 0,
    onSlow: (error) => sharing?.onSlow(error),
  });
  return { watch, reader: { requestId, operationName, signal }, pace };
}

/** What all members of a group are told, from where it stands; it ends as `follow` does. */
async function* followForAll<Row, Event extends SharedEvent>(
  options: LogStream<Row, Event>,
  stand: Stand,
  signal: AbortSignal,
): AsyncGenerator<Event, void, undefined> {
  const { requestId, operationName, services } = options.context;
  const watch = services.feed.watchForOthers(options.accountId);
  const reader = { requestId, operationName, signal };
  const opening = { place: stand.place, lastSeq: stand.lastSeq, events: [], goalSeq: null };
  try {
    yield* follow(options, opening, { watch, reader, pace: NO_PACE });
  } finally {
    watch.release();
  }
}

/** Ends when what comes after its place cannot be told any more. */
async function* follow<Row, Event extends SharedEvent>(
  options: LogStream<Row, Event>,
  opening: Opening<Row>,
  reading: Reading,
): AsyncGenerator<Event, void, undefined> {
  const { watch, reader, pace } = reading;
  const { heartbeatMs, feed } = options.context.services;
  const { nowMs } = feed.clock;
  const conflation = createConflation<Pending<Row>>(options.minIntervalMs, mergePending);
  let { place, goalSeq } = opening;
  let chain = createChain(opening.lastSeq ?? String(place.seq));
  // Everything up to here was told; what is held back comes after it.
  let told = place;
  let seenSeq = String(place.seq);
  let spokeAtMs = nowMs();
  const say = (event: LogEvent<Row>): Event => {
    assertStillMay(options);
    spokeAtMs = nowMs();
    seenSeq = event.seq;
    pace.offer(event.cursor, event.seq);
    return options.toEvent(event);
  };
  for (;;) {
    assertStillMay(options);
    const changes = await watch.read(place, reader);
    if (changes === null) return;
    const found = changes.length === 0 ? [] : options.matches(changes, reader, watch);
    // Waiting for what is there already would cost every stream a turn.
    const matches = found instanceof Promise ? await found : found;
    collect({ changes, matches, place, isConflated: options.minIntervalMs > 0 }, conflation.add);
    const last = changes.at(-1);
    if (last !== undefined) place = { ...place, seq: Number(last.seq), hash: last.hash };
    const isCaughtUp = goalSeq !== null && place.seq >= goalSeq;
    // A reader that is behind and wants only the newest reads on before it tells.
    const isAtEnd = last === undefined || options.minIntervalMs === 0;
    const isTime = isCaughtUp || conflation.isFull || (isAtEnd && conflation.isDue(nowMs()));
    if (isTime && conflation.size > 0) {
      const round = conflation.take(nowMs());
      for (const [index, pending] of round.entries()) {
        const previousSeq = chain.previousOf(pending.seq);
        const isLast = round[index + 1]?.seq !== pending.seq;
        yield say(changeEvent(place.epoch, pending, { previousSeq, isLast }));
        pace.taken();
      }
    }
    if (isCaughtUp) {
      goalSeq = null;
      yield say(plainEvent('CAUGHT_UP', place, chain.last()));
      pace.taken();
    }
    if (conflation.size === 0) told = place;
    if (nowMs() >= spokeAtMs + heartbeatMs) {
      // While the end of the log is unknown, silence is the honest word.
      if (!watch.isFresh(heartbeatMs)) spokeAtMs = nowMs();
      else {
        yield say(plainEvent('HEARTBEAT', told, chain.last()));
        pace.taken();
      }
    }
    if (last !== undefined) {
      pace.reached(place.seq, goalSeq === null);
      continue;
    }
    const isAtRest = conflation.size === 0;
    const at = { place, lastSeq: chain.last(), seenSeq };
    const stand = isAtRest ? await withOthers(options, at, reading) : null;
    if (stand !== null) {
      ({ place, seenSeq } = stand);
      told = place;
      chain = createChain(stand.lastSeq);
      spokeAtMs = nowMs();
      continue;
    }
    const heartMs = Math.max(1, spokeAtMs + heartbeatMs - nowMs());
    const roundMs = conflation.waitMs(nowMs()) ?? heartMs;
    const timeMs = Math.min(heartMs, roundMs, PERMISSION_CHECK_MS);
    await watch.wait(place, { timeMs, signal: reader.signal });
  }
}

/** Is told by a group for as long as it can; null: there is none that it can join now. */
async function withOthers<Row, Event extends SharedEvent>(
  options: LogStream<Row, Event>,
  at: Stand,
  { reader: { signal }, pace }: Reading,
): Promise<Stand | null> {
  const { sharing, actor } = options.context;
  if (sharing === null) return null;
  const told = sharing.groups.join<Event>({
    sharing,
    actor,
    at,
    signal,
    follow: (context, from, ended) => followForAll({ ...options, context }, from, ended),
  });
  if (told === null) return null;
  const stand = await told;
  const { epoch, seq, hash } = stand.place;
  pace.offer(encodeCursor(epoch, seq, hash), stand.seenSeq);
  // It goes on at its own pace: after what was written for it.
  await sharing.sink.drained(signal);
  pace.taken();
  return stand;
}

/** @throws AppError UNAUTHENTICATED once the key is revoked or has expired; FORBIDDEN */
function assertStillMay<Row, Event>(options: LogStream<Row, Event>): void {
  const { context, permission, accountId } = options;
  if (!context.services.isCurrent(context.actor)) {
    throw new AppError('UNAUTHENTICATED', 'The key was revoked or has expired.');
  }
  assertMay(context.actor, permission, accountId);
}

/** What a change tells of one row, until its time has come. */
interface Pending<Row> extends Told {
  readonly change: Change;
  /** Of the change before that one. */
  readonly previousHash: string;
  readonly match: Match<Row>;
  readonly operation: ChangeOperation;
  readonly before: unknown;
  readonly actor: string;
}

/** Changes that follow a place, and what each of them tells. */
interface Collected<Row> {
  readonly changes: readonly Change[];
  readonly matches: readonly Matches<Row>[];
  readonly place: Cursor;
  readonly isConflated: boolean;
}

function collect<Row>(
  { changes, matches, place, isConflated }: Collected<Row>,
  add: (pending: Pending<Row>) => void,
): void {
  let previousHash = place.hash;
  for (const [index, change] of changes.entries()) {
    const { seq, operation, actor } = change;
    const fromSeq = isConflated ? seq : null;
    for (const match of matches[index] ?? []) {
      const { key, before } = match;
      add({ key, seq, fromSeq, change, previousHash, match, operation, before, actor });
    }
    previousHash = change.hash;
  }
}

/** The later state, with what it was before both. */
function mergePending<Row>(earlier: Pending<Row>, later: Pending<Row>): Pending<Row> {
  const { fromSeq } = earlier;
  // A mark changes no row: the event tells of what did.
  if (earlier.operation === 'MARK') return { ...later, fromSeq };
  const { operation, before, actor } = earlier;
  if (later.operation === 'MARK') return { ...later, operation, before, actor, fromSeq };
  const both = operation === 'INSERT' ? operation : later.operation;
  return { ...later, operation: both, before, fromSeq };
}

/** The seqs of what is sent: events of one change share theirs, and the one before. */
function createChain(fromSeq: string) {
  let previous = fromSeq;
  let current = previous;
  return {
    previousOf(seq: string): string {
      if (seq !== current) {
        previous = current;
        current = seq;
      }
      return previous;
    },
    last: () => current,
  };
}

function changeEvent<Row>(
  epoch: string,
  { change, previousHash, match, operation, before, fromSeq, actor }: Pending<Row>,
  { previousSeq, isLast }: { readonly previousSeq: string; readonly isLast: boolean },
): LogEvent<Row> {
  const { seq, hash, at } = change;
  return {
    kind: match.isLeft ? 'LEFT' : 'CHANGE',
    // Resumed amid the events of one change, all of them are sent again.
    cursor: isLast
      ? encodeCursor(epoch, seq, hash)
      : encodeCursor(epoch, Number(seq) - 1, previousHash),
    seq,
    previousSeq,
    at,
    operation,
    row: match.row,
    before,
    fromSeq,
    actor,
  };
}
