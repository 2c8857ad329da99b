import type { Cursor } from '../datasources/cursor.ts';
import type { CommittedLog } from '../datasources/append.ts';
import { readAfter, readHeads, renewEpoch } from '../datasources/change.ts';
import type { Database } from '../datasources/database.ts';
import { millisecondsOf } from '../datasources/instant.ts';
import type { Call } from '../datasources/lane.ts';
import { AppError } from '../errors.ts';
import type { Clock } from './clock.ts';
import { adoptHead, isReplaced, type Tail, takeOver } from './tail.ts';
import { createWaits, type WaitLimits } from './waits.ts';

/** Changes that one statement reads. */
export const READ_CHANGES_MAX = 500;

const STATEMENT_MS_MAX = 10_000;
const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 5000;

/** The part of a pino logger that is used here. */
export interface FollowerLog {
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
}

export interface FollowerOptions {
  readonly database: Database;
  readonly log: FollowerLog;
  readonly clock: Clock;
  readonly pollMs: number;
  /** Told of each head that a poll finds. */
  readonly onHead?: ((accountId: string, seq: number) => void) | undefined;
  /** Those to follow; the follower ends when there is none. */
  readonly tails: ReadonlyMap<string, Tail>;
}

/** Keeps the tails at the end of their logs. */
export interface Follower {
  readonly isClosed: boolean;
  /** When the last poll was answered, by the clock. */
  readonly polledAtMs: number;
  /** Begins, if it rests. */
  start(): void;
  /** Says that something is wanted, or that nothing is any more. */
  look(): void;
  /** Takes over what this process has committed; false: it has to be read. */
  take(tail: Tail, log: CommittedLog): boolean;
  /**
   * The head as a poll finds it that begins after this call.
   *
   * @throws AppError NOT_FOUND for an unknown account; UNAVAILABLE after `timeMs`, or when closed
   */
  headOf(tail: Tail, limits: WaitLimits): Promise<Cursor>;
  /** @throws AppError UNAVAILABLE once it is closed */
  assertOpen(): void;
  figures(): { readonly lagMs: number | null; readonly isConnected: boolean };
  close(): Promise<void>;
}

/** The one who polls and reads, one statement after the other, while anything is watched. */
export function createFollower(options: FollowerOptions): Follower {
  const { database, log, clock, pollMs, tails, onHead } = options;
  const polled = createWaits(clock);
  const looks = createWaits(clock);
  let isRunning = false;
  let isClosed = false;
  let isLookAsked = false;
  let isPollAsked = false;
  let isPolling = false;
  let pollsBegun = 0;
  let pollAnswered = 0;
  let polledAtMs = Number.NEGATIVE_INFINITY;
  let failures = 0;
  let lagMs: number | null = null;
  let ended: Promise<void> = Promise.resolve();

  const isWanted = () => tails.size > 0 && !isClosed;

  async function run(): Promise<void> {
    while (isWanted()) {
      try {
        isLookAsked = false;
        if (isPollAsked || clock.nowMs() >= polledAtMs + pollMs) await poll();
        const isBehind = await readOn();
        if (failures > 0) log.info({ failures }, 'the change feed reads again');
        failures = 0;
        if (!isBehind) await rest(polledAtMs + pollMs - clock.nowMs());
      } catch (error) {
        failures += 1;
        // Readers wait meanwhile; what they miss is read when the database is back.
        if (failures === 1) log.warn({ err: error }, 'the change feed cannot read the log');
        isPollAsked = true;
        await restFully(backoffMs(error, failures));
      }
    }
    // In the same step as the last look at the condition: `start` cannot come between.
    isRunning = false;
  }

  /** Until the time is over or somebody asks to look. */
  async function rest(timeMs: number): Promise<void> {
    if (!isLookAsked && isWanted()) await looks.wait({ timeMs: Math.max(0, timeMs) });
  }

  async function restFully(timeMs: number): Promise<void> {
    const endAtMs = clock.nowMs() + timeMs;
    while (isWanted() && clock.nowMs() < endAtMs) {
      await looks.wait({ timeMs: endAtMs - clock.nowMs() });
    }
  }

  async function poll(): Promise<void> {
    isPollAsked = false;
    pollsBegun += 1;
    isPolling = true;
    try {
      await pollHeads();
    } finally {
      isPolling = false;
    }
    pollAnswered = pollsBegun;
    polledAtMs = clock.nowMs();
    polled.ringAll();
  }

  /** One statement for all accounts. */
  async function pollHeads(): Promise<void> {
    const asked = [...tails.values()];
    const sql = database.feed.sql(callOf(FOLLOWER));
    const heads = await readHeads(
      sql,
      asked.map(({ accountId }) => accountId),
    );
    for (const head of heads) onHead?.(head.accountId, Number(head.seq));
    const byAccount = new Map(heads.map((head) => [head.accountId, head]));
    for (const tail of asked) {
      const head = byAccount.get(tail.accountId);
      if (head === undefined) tail.polled = null;
      else if (isReplaced(tail, head)) await rename(tail);
      else adoptHead(tail, head);
    }
  }

  /**
   * The database was restored while it was followed: seqs are given a second time. With another
   * name for its history, which the next poll finds, old places and cursors are known as such.
   */
  async function rename({ accountId, epoch, ring }: Tail): Promise<void> {
    if (epoch === null) return;
    log.warn({ accountId, epoch, seq: ring.headSeq }, 'the log of an account was replaced');
    await renewEpoch(database.trading.sql(callOf(FOLLOWER)), accountId, epoch);
    isPollAsked = true;
  }

  /** One statement for each account that moved; whether there is more to read. */
  async function readOn(): Promise<boolean> {
    let isBehind = false;
    for (const tail of [...tails.values()]) {
      if (tail.wantedSeq <= tail.ring.headSeq) continue;
      await readTail(tail);
      if (tail.wantedSeq > tail.ring.headSeq) isBehind = true;
    }
    return isBehind;
  }

  async function readTail(tail: Tail): Promise<void> {
    const { accountId, ring } = tail;
    // Far behind, as after an outage: what would leave the ring at once is not read into it.
    if (tail.wantedSeq - ring.headSeq > ring.lengthMax) {
      ring.restart(tail.wantedSeq - ring.lengthMax);
      tail.lastHash = null;
    }
    const { headSeq } = ring;
    // The last one is read again: its hash says whether what follows goes on from it.
    const overlap = headSeq > 0 && tail.lastHash !== null ? 1 : 0;
    const limit = READ_CHANGES_MAX + overlap;
    const sql = database.feed.sql(callOf(FOLLOWER));
    const rows = await readAfter(sql, accountId, String(headSeq - overlap), limit);
    // It is not there where retention has passed it.
    const last = rows.find(({ seq }) => Number(seq) === headSeq);
    if (last !== undefined && last.hash !== tail.lastHash) return rename(tail);
    const changes = last === undefined ? rows : rows.slice(1);
    ring.append(changes);
    const newest = changes.at(-1);
    if (newest !== undefined) {
      tail.lastHash = newest.hash;
      lagMs = Math.max(0, Date.now() - millisecondsOf(newest.at));
    }
    // There is no more than this, whatever the hint said.
    if (rows.length < limit) tail.wantedSeq = ring.headSeq;
    tail.changed.ringAll();
  }

  function look(): void {
    isLookAsked = true;
    looks.ringAll();
  }

  function assertOpen(): void {
    if (isClosed) throw closed();
  }

  async function headOf(tail: Tail, limits: WaitLimits): Promise<Cursor> {
    assertOpen();
    const { timeMs = Number.POSITIVE_INFINITY, ...others } = limits;
    const endAtMs = clock.nowMs() + timeMs;
    const earlier = pollsBegun;
    isPollAsked = true;
    look();
    while (pollAnswered <= earlier) {
      const leftMs = endAtMs - clock.nowMs();
      if (leftMs <= 0) throw unreadable();
      await polled.wait(
        leftMs === Number.POSITIVE_INFINITY ? others : { ...limits, timeMs: leftMs },
      );
    }
    if (tail.polled !== null) return tail.polled;
    throw new AppError('NOT_FOUND', `There is no account ${JSON.stringify(tail.accountId)}.`, {
      path: ['account'],
    });
  }

  return {
    look,
    take(tail, log) {
      if (isPolling || !takeOver(tail, log)) return false;
      lagMs = 0;
      return true;
    },
    headOf,
    assertOpen,
    get isClosed() {
      return isClosed;
    },
    get polledAtMs() {
      return polledAtMs;
    },
    start(): void {
      if (isRunning || isClosed) return;
      isRunning = true;
      ended = run();
    },
    figures: () => ({ lagMs, isConnected: failures === 0 }),
    async close(): Promise<void> {
      isClosed = true;
      look();
      for (const tail of tails.values()) tail.changed.failAll(closed());
      polled.failAll(closed());
      await ended;
    },
  };
}

const FOLLOWER = { requestId: 'change-feed', operationName: null };

/** A call that begins now: a stream outlives the deadline of the operation that began it. */
export function callOf(reader: Omit<Call, 'deadlineAt'>): Call {
  const { requestId, operationName, signal } = reader;
  const deadlineAt = performance.now() + STATEMENT_MS_MAX;
  return { requestId, operationName, deadlineAt, ...(signal === undefined ? {} : { signal }) };
}

/** How long to leave a database alone that failed so often in a row. */
export function backoffMs(error: unknown, failures: number): number {
  const asked = error instanceof AppError ? (error.retryAfterMs ?? 0) : 0;
  const ownMs = BACKOFF_MS_MIN * 2 ** Math.min(failures, 10) * (0.5 + Math.random() / 2);
  return Math.min(BACKOFF_MS_MAX, Math.max(asked, ownMs));
}

function closed(): AppError {
  return new AppError('UNAVAILABLE', 'This server is shutting down.', { retryAfterMs: 1000 });
}

function unreadable(): AppError {
  return new AppError('UNAVAILABLE', 'The log of changes cannot be read at the moment.', {
    retryAfterMs: 1000,
  });
}
