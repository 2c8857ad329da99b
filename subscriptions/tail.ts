import type { Head } from '../datasources/change.ts';
import type { Clock } from './clock.ts';
import { createRing, type Ring } from './ring.ts';
import { createWaits, type Waits } from './waits.ts';

/** What a process knows of the end of one account's log. */
export interface Tail {
  readonly accountId: string;
  readonly ring: Ring;
  /** Those who wait for changes. */
  readonly changed: Waits;
  watches: number;
  /** Null: no poll has told yet. */
  epoch: string | null;
  /** Up to where there is something to read: a hint, which only reading confirms. */
  wantedSeq: number;
  /** The head as the last poll found it; null: there is no such account. */
  polledSeq: number | null;
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
    watches: 0,
    epoch: null,
    wantedSeq: 0,
    polledSeq: null,
  };
}

/** Takes over what a poll found. No read may be under way: the head would seem to have gone back. */
export function adoptHead(tail: Tail, head: Head): void {
  const seq = Number(head.seq);
  tail.polledSeq = seq;
  if (tail.epoch === head.epoch && seq >= tail.ring.headSeq) {
    tail.wantedSeq = Math.max(tail.wantedSeq, seq);
    return;
  }
  // Another history, or one that was taken back without being renamed: what is held may never have
  // happened. Every reader looks where it stands.
  tail.epoch = head.epoch;
  tail.wantedSeq = seq;
  tail.ring.restart(seq);
  tail.changed.ringAll();
}
