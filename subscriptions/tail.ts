import type { CommittedLog } from '../datasources/append.ts';
import type { Change, Head } from '../datasources/change.ts';
import type { Cursor } from '../datasources/cursor.ts';
import type { Clock } from './clock.ts';
import { createRing, type Ring } from './ring.ts';
import { createWaits, type Waits } from './waits.ts';

/** What a process knows of the end of one account's log. */
export interface Tail {
  readonly accountId: string;
  readonly ring: Ring;
  /** Those who wait for changes. */
  readonly changed: Waits;
  /** Table reads under way, by the place they begin after: readers at one place share one. */
  readonly reads: Map<string, Promise<readonly Change[]>>;
  watches: number;
  /** Of these watches, those that are of a subscription. */
  subscriptions: number;
  /** Null: no poll has told yet. */
  epoch: string | null;
  /** Of the change at the ring's head; null: not known. */
  lastHash: string | null;
  /** Up to where there is something to read: a hint, which only reading confirms. */
  wantedSeq: number;
  /** The head as the last poll found it; null: there is no such account. */
  polled: Cursor | null;
}

export interface RingLimits {
  readonly lengthMax: number;
  readonly bytesMax: number;
}

export function createTail(accountId: string, clock: Clock, limits: RingLimits): Tail {
  return {
    accountId,
    ring: createRing(limits),
    changed: createWaits(clock),
    reads: new Map(),
    watches: 0,
    subscriptions: 0,
    epoch: null,
    lastHash: null,
    wantedSeq: 0,
    polled: null,
  };
}

/**
 * Whether the log is not the one that was followed, though it has its name: it went back, or holds
 * something else where the last change was. No read may be under way.
 */
export function isReplaced({ epoch, ring, lastHash }: Tail, head: Head): boolean {
  if (epoch !== head.epoch) return false;
  const seq = Number(head.seq);
  return (
    seq < ring.headSeq || (seq === ring.headSeq && lastHash !== null && lastHash !== head.hash)
  );
}

/**
 * Adds changes that this process has committed itself to the ring, if they follow what it holds.
 * False: they have to be read. No poll may be under way: what it finds may be older.
 */
export function takeOver(tail: Tail, { previousHash, changes }: CommittedLog): boolean {
  const { ring, epoch, lastHash } = tail;
  // Before the first poll nothing is known; and what is being read must not be added twice.
  if (epoch === null || tail.wantedSeq > ring.headSeq || lastHash !== previousHash) return false;
  const own = changes();
  const newest = own.at(-1);
  if (newest === undefined || Number(own[0]?.seq) !== ring.headSeq + 1) return false;
  ring.append(own);
  tail.lastHash = newest.hash;
  tail.wantedSeq = ring.headSeq;
  tail.changed.ringAll();
  return true;
}

/** Takes over what a poll found of a log that is not replaced. */
export function adoptHead(tail: Tail, head: Head): void {
  const seq = Number(head.seq);
  tail.polled = { epoch: head.epoch, seq, hash: head.hash };
  if (tail.epoch === head.epoch) {
    tail.wantedSeq = Math.max(tail.wantedSeq, seq);
    return;
  }
  // Another history: what is held may never have happened. Every reader looks where it stands.
  tail.epoch = head.epoch;
  tail.wantedSeq = seq;
  tail.lastHash = head.hash;
  tail.ring.restart(seq);
  tail.changed.ringAll();
}
