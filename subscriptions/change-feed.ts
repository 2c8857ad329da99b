import type { Logger } from 'pino';
import { type Change, type Head, readAfter, readHeads } from '../datasources/change.ts';
import type { Database } from '../datasources/database.ts';
import type { Call } from '../datasources/lane.ts';
import { createRing, type Ring } from './ring.ts';

export const POLL_MS = 100;
const POLL_MS_MAX = 2000;
const CHUNK_ROWS = 500;
const RING_LENGTH_MAX = 4096;
const RING_BYTES_MAX = 16 * 1024 * 1024;
const CATCH_UPS_MAX = 4;
const FEED_CALL_MS = 5000;

/**
 * The committed changes of this process's watched accounts. Each account is read once for all its
 * subscribers; wake-ups are hints, the table is the truth.
 */
export interface ChangeFeed {
  /** Begins to follow an account; `release` when nobody reads it any more. */
  watch(accountId: string): Watch;
  /** Says that a unit of work committed up to this seq; followed at once instead of at the poll. */
  wake(accountId: string, seq: string): void;
  /** Runs a read of many rows; at most four at once, so that a crowd that returns is orderly. */
  catchUp<T>(work: () => Promise<T>): Promise<T>;
  figures(): FeedFigures;
  close(): Promise<void>;
}

export interface FeedFigures {
  /** Watches that are not released. */
  readonly subscriptions: number;
  readonly accounts: number;
  /** From the newest change's commit to its arrival here; null before the first. */
  readonly lagMs: number | null;
}

/** One reader's place at the feed of an account. It holds no changes: readers pull. */
export interface Watch {
  /** Counts how often the head was taken anew: a reader then asks whether its place still is. */
  readonly generation: number;
  /** Changes after a seq, oldest first, at most 500; empty when there are none yet. */
  read(afterSeq: number, call: Call): Promise<readonly Change[]>;
  /** Resolves when there are changes after this seq or the history changed, or after `timeMs`. */
  wait(afterSeq: number, timeMs: number, signal: AbortSignal): Promise<'changed' | 'timeout'>;
  release(): void;
}

export interface ChangeFeedOptions {
  readonly database: Database;
  readonly log: Logger;
  readonly pollMs?: number;
}

/** One followed account. */
interface Followed {
  readonly accountId: string;
  watches: number;
  epoch: string | null;
  generation: number;
  /** Null until the head is known. */
  ring: Ring | null;
  isReading: boolean;
  isReadAgain: boolean;
  readonly wakeAll: Set<() => void>;
}

export function createChangeFeed({ database, log, pollMs = POLL_MS }: ChangeFeedOptions) {
  const followed = new Map<string, Followed>();
  const catchUp = createTurnstile(CATCH_UPS_MAX);
  let timer: NodeJS.Timeout | null = null;
  let failures = 0;
  let lagMs: number | null = null;
  let isClosed = false;

  function schedule(delayMs: number): void {
    if (isClosed || timer !== null || followed.size === 0) return;
    timer = setTimeout(() => {
      timer = null;
      poll().catch((error: unknown) => log.error({ err: error }, 'the change feed'));
    }, delayMs);
    timer.unref();
  }

  /** One statement for all accounts, then one for each that moved. */
  async function poll(): Promise<void> {
    try {
      const heads = await readHeads(database.feed.sql(feedCall()), [...followed.keys()]);
      failures = 0;
      await Promise.all(heads.map(follow));
    } catch (error) {
      failures += 1;
      // The readers wait meanwhile; nothing is lost, it is read when the database is back.
      if (failures === 1) log.warn({ err: error }, 'the change feed waits for the database');
    }
    schedule(Math.min(POLL_MS_MAX, pollMs * 2 ** Math.min(failures, 6)));
  }

  async function follow(head: Head): Promise<void> {
    const one = followed.get(head.accountId);
    if (one === undefined) return;
    const isOtherHistory = one.epoch !== null && one.epoch !== head.epoch;
    const isBehind = one.ring !== null && Number(head.seq) < one.ring.lastSeq;
    // A head that went back is a restore that nobody told us of, or was read before the last change
    // arrived: the readers find out.
    if (one.ring === null || isOtherHistory || (isBehind && !one.isReading)) {
      one.ring = createRing(Number(head.seq), RING_LENGTH_MAX, RING_BYTES_MAX);
      one.epoch = head.epoch;
      one.generation += 1;
      notify(one);
      return;
    }
    if (Number(head.seq) > one.ring.lastSeq) await fetch(one);
  }

  /** Reads on until there is no more; asked again meanwhile, it reads once more. */
  async function fetch(one: Followed): Promise<void> {
    if (one.isReading) {
      one.isReadAgain = true;
      return;
    }
    one.isReading = true;
    try {
      do {
        one.isReadAgain = false;
        await fetchOnce(one);
      } while (one.isReadAgain);
    } finally {
      one.isReading = false;
    }
  }

  async function fetchOnce(one: Followed): Promise<void> {
    for (;;) {
      const { ring } = one;
      if (ring === null) return;
      const after = String(ring.lastSeq);
      const sql = database.feed.sql(feedCall());
      const changes = await readAfter(sql, one.accountId, after, CHUNK_ROWS);
      // The history may have been replaced while we read it.
      if (one.ring !== ring || String(ring.lastSeq) !== after) return;
      const newest = changes.at(-1);
      if (newest === undefined) return;
      ring.append(changes);
      lagMs = Math.max(0, Date.now() - Date.parse(newest.at));
      notify(one);
      if (changes.length < CHUNK_ROWS) return;
    }
  }

  function notify(one: Followed): void {
    for (const wake of [...one.wakeAll]) wake();
  }

  function watch(accountId: string): Watch {
    const one = followed.get(accountId) ?? newFollowed(accountId);
    followed.set(accountId, one);
    one.watches += 1;
    let isReleased = false;
    // The head of a new account is wanted now, not at the next poll.
    if (one.ring === null && timer !== null) {
      clearTimeout(timer);
      timer = null;
    }
    schedule(0);
    return {
      get generation() {
        return one.generation;
      },
      read: async (afterSeq, call) => {
        const { ring } = one;
        if (ring?.covers(afterSeq)) return ring.after(afterSeq, CHUNK_ROWS);
        const sql = database.interactive.sql(call);
        return catchUp(() => readAfter(sql, accountId, String(afterSeq), CHUNK_ROWS));
      },
      wait: (afterSeq, timeMs, signal) => waitFor(one, afterSeq, timeMs, signal),
      release: () => {
        if (isReleased) return;
        isReleased = true;
        one.watches -= 1;
        if (one.watches === 0) followed.delete(accountId);
      },
    };
  }

  const feed: ChangeFeed = {
    watch,
    wake(accountId, seq) {
      const one = followed.get(accountId);
      // Without a ring the head is not known yet: the poll under way will find this change.
      if (one?.ring == null || Number(seq) <= one.ring.lastSeq) return;
      fetch(one).catch((error: unknown) => log.warn({ err: error }, 'a wake-up; the poll repeats'));
    },
    catchUp,
    figures: () => {
      let subscriptions = 0;
      for (const one of followed.values()) subscriptions += one.watches;
      return { subscriptions, accounts: followed.size, lagMs };
    },
    async close() {
      isClosed = true;
      if (timer !== null) clearTimeout(timer);
      followed.clear();
    },
  };
  return feed;
}

function newFollowed(accountId: string): Followed {
  return {
    accountId,
    watches: 0,
    epoch: null,
    generation: 0,
    ring: null,
    isReading: false,
    isReadAgain: false,
    wakeAll: new Set(),
  };
}

function feedCall(): Call {
  return {
    requestId: 'change-feed',
    operationName: null,
    deadlineAt: performance.now() + FEED_CALL_MS,
  };
}

function waitFor(
  one: Followed,
  afterSeq: number,
  timeMs: number,
  signal: AbortSignal,
): Promise<'changed' | 'timeout'> {
  const { epoch } = one;
  const isChanged = () => one.epoch !== epoch || (one.ring !== null && one.ring.lastSeq > afterSeq);
  if (isChanged() || signal.aborted) return Promise.resolve('changed');
  return new Promise((resolve) => {
    const timer = setTimeout(() => finish('timeout'), timeMs);
    timer.unref();
    const wake = () => {
      if (isChanged()) finish('changed');
    };
    const abort = () => finish('changed');
    function finish(outcome: 'changed' | 'timeout'): void {
      clearTimeout(timer);
      one.wakeAll.delete(wake);
      signal.removeEventListener('abort', abort);
      resolve(outcome);
    }
    one.wakeAll.add(wake);
    signal.addEventListener('abort', abort, { once: true });
  });
}

/** Lets `max` pass at once, the others in the order they came. */
function createTurnstile(max: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let inside = 0;
  return async (work) => {
    // Whoever leaves hands its place on, so the count does not change meanwhile.
    if (inside >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else inside += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) inside -= 1;
      else next();
    }
  };
}
