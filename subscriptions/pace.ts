import { AppError } from '../errors.ts';
import type { Clock } from './clock.ts';

/** How long a reader may be behind the head, or leave one event untaken. */
export const BEHIND_MS_MAX = 30_000;
/** How many changes it may be behind the head once it has been there. */
export const BEHIND_CHANGES_MAX = 100_000;
/** Bytes that wait for the client of a reader, and how long they may be above that. */
export const UNSENT_BYTES_MAX = 1024 * 1024;
export const UNSENT_MS_MAX = 10_000;
const CHECK_MS = 1000;

/** What a reader says of itself, and what is to be done when it is too slow. */
export interface PacedReader {
  /** The seq of the newest change there is. */
  headSeq(): number;
  /** Bytes that its client has not taken. */
  unsentBytes(): number;
  /** Tells its client, which may not have asked for anything. */
  onSlow(error: AppError): void;
}

/** How one reader keeps up. */
export interface Pace {
  /** Its next event is offered, after which a client would resume at `cursor`. */
  offer(cursor: string, seq: string): void;
  /** @throws AppError SLOW_CONSUMER with the cursor to resume from, when it was or is too slow */
  taken(): void;
  /** Has read up to a place: until it is caught up it only has to take what it is offered. */
  reached(seq: number, isCaughtUp: boolean): void;
  close(): void;
}

/** Of who reads for others: they keep their own. */
export const NO_PACE: Pace = { offer() {}, taken() {}, reached() {}, close() {} };

/** Looks after all readers who have not taken what they were offered. */
export interface Paces {
  open(reader: PacedReader): Pace;
}

interface Entry {
  readonly reader: PacedReader;
  cursor: string;
  seq: string;
  offeredAtMs: number;
  unsentSinceMs: number | null;
  error: AppError | null;
}

export function createPaces(clock: Clock): Paces {
  /** Those who were offered an event and have not taken it. */
  const offered = new Set<Entry>();
  let readers = 0;
  let stopTimer: (() => void) | null = null;

  function arm(): void {
    stopTimer ??= clock.setTimer(CHECK_MS, () => {
      stopTimer = null;
      for (const entry of offered) check(entry);
      if (offered.size > 0) arm();
    });
  }

  function check(entry: Entry): void {
    const { reader, offeredAtMs } = entry;
    const nowMs = clock.nowMs();
    if (reader.unsentBytes() < UNSENT_BYTES_MAX) entry.unsentSinceMs = null;
    else entry.unsentSinceMs ??= nowMs;
    const unsentMs = entry.unsentSinceMs === null ? 0 : nowMs - entry.unsentSinceMs;
    if (nowMs - offeredAtMs >= BEHIND_MS_MAX) giveUp(entry, 'took nothing for 30 s');
    else if (unsentMs >= UNSENT_MS_MAX) giveUp(entry, 'had 1 MiB unsent for 10 s');
  }

  function giveUp(entry: Entry, what: string): void {
    offered.delete(entry);
    if (entry.error !== null) return;
    entry.error = new AppError(
      'SLOW_CONSUMER',
      `The reader ${what}: it can go on after \`cursor\`.`,
      { retryAfterMs: CHECK_MS, details: { seq: entry.seq, cursor: entry.cursor } },
    );
    entry.reader.onSlow(entry.error);
  }

  /** What was the head a while ago must have been reached by now. */
  function createGoal() {
    let goal: { readonly seq: number; readonly atMs: number } | null = null;
    return (seq: number, headSeq: number): boolean => {
      const nowMs = clock.nowMs();
      if (goal === null || seq >= goal.seq) goal = { seq: headSeq, atMs: nowMs };
      return seq >= headSeq || nowMs - goal.atMs < BEHIND_MS_MAX;
    };
  }

  return {
    open(reader) {
      const entry: Entry = {
        reader,
        cursor: '',
        seq: '0',
        offeredAtMs: 0,
        unsentSinceMs: null,
        error: null,
      };
      const isOnTime = createGoal();
      let isOpen = true;
      readers += 1;
      return {
        offer(cursor, seq) {
          entry.cursor = cursor;
          entry.seq = seq;
          entry.offeredAtMs = clock.nowMs();
          offered.add(entry);
          arm();
        },
        taken() {
          if (offered.has(entry)) check(entry);
          offered.delete(entry);
          if (entry.error !== null) throw entry.error;
        },
        reached(seq, isCaughtUp) {
          if (!isCaughtUp) return;
          const headSeq = reader.headSeq();
          if (headSeq - seq > BEHIND_CHANGES_MAX) giveUp(entry, 'is 100,000 changes behind');
          else if (!isOnTime(seq, headSeq)) giveUp(entry, 'is 30 s behind');
          if (entry.error !== null) throw entry.error;
        },
        close() {
          if (!isOpen) return;
          isOpen = false;
          offered.delete(entry);
          readers -= 1;
          if (readers > 0) return;
          stopTimer?.();
          stopTimer = null;
        },
      };
    },
  };
}
