import type { CommittedLog } from '../datasources/append.ts';
import { type Change, readAfter, readHash } from '../datasources/change.ts';
import { type Cursor, encodeCursor, isSameChange, type Place } from '../datasources/cursor.ts';
import type { Database } from '../datasources/database.ts';
import type { Call } from '../datasources/lane.ts';
import { readMarked } from '../datasources/mark.ts';
import { AppError } from '../errors.ts';
import { type Clock, systemClock } from './clock.ts';
import {
  backoffMs,
  callOf,
  createFollower,
  type FollowerLog,
  READ_CHANGES_MAX,
} from './follower.ts';
import { createGate } from './gate.ts';
import { createRowHolder, type RowHolder } from './held-rows.ts';
import { createMarkReader, type MarkReader } from './mark.ts';
import { createPaces, type Paces } from './pace.ts';
import { bytesOf } from './ring.ts';
import { createTail, type Tail } from './tail.ts';
import { orAborted, sleep, type WaitLimits } from './waits.ts';

/** How often the heads of the watched accounts are asked for. */
const POLL_MS = 100;
/** Newest changes kept in memory, an account. */
const RING_LENGTH_MAX = 4096;
const RING_BYTES_MAX = 16 * 1024 * 1024;
/** Of all accounts together: each may take its share. */
const RINGS_BYTES_MAX = 128 * 1024 * 1024;
/** Rows of snapshots that clients have not taken yet, of all together. */
const SNAPSHOT_ROWS_HELD_MAX = 200_000;
/** Positions as marks found them, kept for those who come to the same marks a moment later. */
const MARKED_ROWS_MAX = 20_000;
/** Snapshots and reads of older changes that run at once. */
const CATCH_UPS_MAX = 4;
/** What a reader gets at once, so much it holds while its client is slow; or 500 changes. */
export const READ_BYTES_MAX = 1024 * 1024;

/**
 * The committed changes of the accounts that somebody of this process watches, each read once for
 * all of them. Wake-ups and polls only say when to look: the table is the truth. Nobody is sent
 * anything: readers pull, and who is slow costs nothing here.
 */
export interface ChangeFeed {
  readonly clock: Clock;
  /** Where snapshots stand until their clients have taken them. */
  readonly rows: RowHolder;
  /** What marks say of the positions of their instruments. */
  readonly marks: MarkReader;
  /** Knows those who do not keep up. */
  readonly paces: Paces;
  /** Begins to follow an account, until as many watches of it are released. */
  watch(accountId: string): Watch;
  /** As `watch`, for subscriptions that are counted by watches of their own. */
  watchForOthers(accountId: string): Watch;
  /** Says that this seq is committed: it is read at once instead of after the next poll. */
  wake(accountId: string, seq: string): void;
  /**
   * Hands over what this process has just committed: where it follows what is in memory nothing is
   * read. Call `wake` all the same.
   */
  take(log: CommittedLog): void;
  /**
   * Runs a read of many rows; at most four of this process run at once.
   *
   * @throws what `work` throws; the signal's reason as soon as the reader has gone
   */
  catchUp<T>(reader: FeedReader, work: (call: Call) => Promise<T>): Promise<T>;
  /** As `catchUp`, but while the database is away it waits and tries again. */
  catchUpPatiently<T>(reader: FeedReader, work: (call: Call) => Promise<T>): Promise<T>;
  /**
   * Reads what a change is about, once for all who ask for it meanwhile, and as patiently. A change
   * is asked for with one kind of work only.
   */
  readShared<T>(change: Change, reader: FeedReader, work: (call: Call) => Promise<T>): Promise<T>;
  figures(): FeedFigures;
  /** Ends polling; who waits gets UNAVAILABLE. */
  close(): Promise<void>;
}

/** For whom something is read. */
export interface FeedReader {
  readonly requestId: string;
  readonly operationName: string | null;
  readonly signal: AbortSignal;
}

export interface FeedFigures {
  /** Watches that are not released, but those for others. */
  readonly subscriptions: number;
  readonly accounts: number;
  /** Changes in memory, and about how much they take. */
  readonly changes: number;
  readonly bytes: number;
  /** From the last change's commit to its arrival here, two clocks apart; null before the first. */
  readonly lagMs: number | null;
  /** False while polls fail. */
  readonly isConnected: boolean;
}

/** One reader's view of an account's log. It holds no changes and no place. */
export interface Watch {
  /**
   * The head of the log as a poll found it that began after this call.
   *
   * @throws AppError NOT_FOUND for an unknown account; UNAVAILABLE after `timeMs`
   */
  head(limits: WaitLimits): Promise<Cursor>;
  /**
   * Whether a cursor of this history is of a change that it really has. One that is of no change
   * or was made by an earlier release is believed.
   */
  confirms(cursor: Cursor, reader: FeedReader): Promise<boolean>;
  /**
   * The oldest changes after a place, without a gap; none: there are none yet. Null when that
   * cannot be told: the place is of another history or ahead of this one, or changes after it are
   * gone. While the database is away it waits.
   */
  read(place: Place, reader: FeedReader): Promise<readonly Change[] | null>;
  /** The seq of the newest mark of an instrument that is in memory; 0: there is none. */
  newestMarkOf(instrument: string): number;
  /** Resolves when there may be changes after a place, or after `timeMs`. */
  wait(place: Place, limits: WaitLimits): Promise<void>;
  /** The seq of the newest change in memory, or of the head where there is none. */
  headSeq(): number;
  /** Whether the end of the log was looked up within this time. */
  isFresh(withinMs: number): boolean;
  /** May be called twice. */
  release(): void;
}

export interface ChangeFeedOptions {
  readonly database: Database;
  readonly log: FollowerLog;
  readonly clock?: Clock;
  readonly pollMs?: number;
  /** Told of each head that a poll finds. */
  readonly onHead?: (accountId: string, seq: number) => void;
  readonly ringLengthMax?: number;
  readonly ringBytesMax?: number;
  readonly ringsBytesMax?: number;
  readonly snapshotRowsHeldMax?: number;
  readonly markedRowsMax?: number;
}

/** A feed that rests until something is watched. */
export function createChangeFeed(options: ChangeFeedOptions): ChangeFeed {
  const { database, log, clock = systemClock, pollMs = POLL_MS } = options;
  const { ringBytesMax = RING_BYTES_MAX, ringsBytesMax = RINGS_BYTES_MAX } = options;
  const ringLimits = {
    lengthMax: options.ringLengthMax ?? RING_LENGTH_MAX,
    bytesMax: ringBytesMax,
  };
  const tails = new Map<string, Tail>();
  const readings = new Map<Change, Promise<unknown>>();
  const gate = createGate(CATCH_UPS_MAX);
  const { onHead } = options;
  const follower = createFollower({ database, log, clock, pollMs, tails, onHead });
  const catchUp: ChangeFeed['catchUp'] = (reader, work) =>
    // The place at the gate is held until the statement has really ended.
    orAborted(
      gate.run(() => work(callOf(reader)), reader.signal),
      reader.signal,
    );

  async function patiently<T>(reader: FeedReader, work: () => Promise<T>): Promise<T> {
    for (let failures = 1; ; failures += 1) {
      try {
        return await work();
      } catch (error) {
        if (!isPassing(error) || follower.isClosed) throw error;
        await sleep(clock, backoffMs(error, failures), reader.signal);
      }
    }
  }

  /** With those who ask for the same meanwhile. */
  function share<Key, T>(
    readings: Map<Key, Promise<T>>,
    key: Key,
    { requestId, operationName, signal }: FeedReader,
    work: (call: Call) => Promise<T>,
  ): Promise<T> {
    let reading = readings.get(key);
    if (reading === undefined) {
      // Not with its signal: the others stay when this one goes.
      const run = () => work(callOf({ requestId, operationName }));
      reading = gate.run(run).finally(() => readings.delete(key));
      readings.set(key, reading);
    }
    return orAborted(reading, signal);
  }

  /** A crowd that returns to one place is one statement. */
  function readAt(tail: Tail, place: Place, reader: FeedReader): Promise<readonly Change[]> {
    const key = encodeCursor(place.epoch, place.seq, '');
    return share(tail.reads, key, reader, (call) => {
      const sql = database.interactive.sql(call);
      return readAfter(sql, tail.accountId, String(place.seq), READ_CHANGES_MAX);
    });
  }

  async function readTable(tail: Tail, place: Place, reader: FeedReader) {
    const changes = await patiently(reader, () => readAt(tail, place, reader));
    if (tail.epoch !== place.epoch) return null;
    const first = changes.slice(0, lengthToHold(changes, place.seq));
    // The ring knows of changes after the place: none here means that they were deleted.
    return first.length === 0 ? null : first;
  }

  async function confirms(tail: Tail, cursor: Cursor, reader: FeedReader): Promise<boolean> {
    if (cursor.hash === '') return true;
    const { ring, lastHash } = tail;
    const held = cursor.seq === ring.headSeq ? lastHash : ring.hashOf(cursor.seq);
    if (held !== null) return isSameChange(cursor, held);
    const hash = await catchUp(reader, (call) =>
      readHash(database.interactive.sql(call), tail.accountId, cursor.seq),
    );
    return isSameChange(cursor, hash);
  }

  async function read(tail: Tail, place: Place, reader: FeedReader) {
    if (tail.epoch !== place.epoch || place.seq > tail.ring.headSeq) {
      // Whoever read the place elsewhere may know more than the last poll.
      const head = await follower.headOf(tail, reader);
      if (head.epoch !== place.epoch || place.seq > head.seq) return null;
    }
    if (!tail.ring.covers(place.seq)) return readTable(tail, place, reader);
    return tail.ring.read(place.seq, { countMax: READ_CHANGES_MAX, bytesMax: READ_BYTES_MAX });
  }

  function shareMemory(): void {
    const bytesMax = Math.min(ringBytesMax, ringsBytesMax / Math.max(1, tails.size));
    for (const { ring } of tails.values()) ring.limit(bytesMax);
  }

  function enter(accountId: string): Tail {
    const known = tails.get(accountId);
    if (known !== undefined) return known;
    const tail = createTail(accountId, clock, ringLimits);
    tails.set(accountId, tail);
    shareMemory();
    return tail;
  }

  function watch(accountId: string, subscriptions: number): Watch {
    const tail = enter(accountId);
    tail.watches += 1;
    tail.subscriptions += subscriptions;
    let isReleased = false;
    follower.start();
    return {
      head: (limits) => follower.headOf(tail, limits),
      confirms: (cursor, reader) => confirms(tail, cursor, reader),
      read: (place, reader) => read(tail, place, reader),
      newestMarkOf: (instrument) => tail.ring.newestMarkOf(instrument),
      async wait(place, limits) {
        follower.assertOpen();
        if (tail.epoch !== place.epoch || tail.ring.headSeq > place.seq) return;
        await tail.changed.wait(limits);
      },
      headSeq: () => tail.ring.headSeq,
      isFresh: (withinMs) => clock.nowMs() - follower.polledAtMs <= withinMs,
      release() {
        if (isReleased) return;
        isReleased = true;
        tail.watches -= 1;
        tail.subscriptions -= subscriptions;
        if (tail.watches > 0) return;
        tails.delete(accountId);
        shareMemory();
        follower.look();
      },
    };
  }

  return {
    clock,
    rows: createRowHolder(options.snapshotRowsHeldMax ?? SNAPSHOT_ROWS_HELD_MAX),
    marks: createMarkReader({
      rowsMax: options.markedRowsMax ?? MARKED_ROWS_MAX,
      read: (accountId, marks, { requestId, operationName }) =>
        // Not with its signal: the others stay when this one goes.
        gate.run(() => {
          const sql = database.interactive.sql(callOf({ requestId, operationName }));
          return readMarked(sql, accountId, marks);
        }),
      patiently,
    }),
    paces: createPaces(clock),
    watch: (accountId) => watch(accountId, 1),
    watchForOthers: (accountId) => watch(accountId, 0),
    catchUp,
    catchUpPatiently: (reader, work) => patiently(reader, () => catchUp(reader, work)),
    readShared: <T>(change: Change, reader: FeedReader, work: (call: Call) => Promise<T>) =>
      // What stands there was put by the same kind of work.
      patiently(reader, () => share(readings as Map<Change, Promise<T>>, change, reader, work)),
    take(log) {
      const tail = tails.get(log.accountId);
      if (tail !== undefined) follower.take(tail, log);
    },
    wake(accountId, seq) {
      const tail = tails.get(accountId);
      // Before the first poll nothing is held; that poll comes after this commit.
      if (tail === undefined || tail.epoch === null || Number(seq) <= tail.wantedSeq) return;
      tail.wantedSeq = Number(seq);
      follower.look();
    },
    figures: () => ({ ...figuresOf(tails), ...follower.figures() }),
    close: follower.close,
  };
}

/** How many of these follow a seq without a gap and are not too much to hold. */
function lengthToHold(changes: readonly Change[], afterSeq: number): number {
  let bytes = 0;
  let length = 0;
  for (const change of changes) {
    if (Number(change.seq) !== afterSeq + length + 1 || bytes > READ_BYTES_MAX) break;
    bytes += bytesOf(change);
    length += 1;
  }
  return length;
}

function figuresOf(tails: ReadonlyMap<string, Tail>) {
  let subscriptions = 0;
  let changes = 0;
  let bytes = 0;
  for (const { subscriptions: ofTail, ring } of tails.values()) {
    subscriptions += ofTail;
    changes += ring.length;
    bytes += ring.bytes;
  }
  return { subscriptions, accounts: tails.size, changes, bytes };
}

function isPassing(error: unknown): boolean {
  return error instanceof AppError && error.isRetryable;
}
