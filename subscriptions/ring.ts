import type { Change } from '../datasources/change.ts';

/**
 * The newest changes of one account without a gap, oldest first. What exceeds the bounds leaves at
 * the old end; who needs it goes to the table. Seqs are numbers here: an account would have to
 * commit a million changes a second for 280 years to pass 2^53.
 */
export interface Ring {
  /** The seq of the newest change that was added, or of the place where the ring was begun. */
  readonly headSeq: number;
  /** How many changes it holds, and may. */
  readonly length: number;
  readonly lengthMax: number;
  /** About how much memory they take. */
  readonly bytes: number;
  /** Sets how much memory it may take; what is above that leaves. */
  limit(bytesMax: number): void;
  /** Forgets everything; the next change is the one after `headSeq`. */
  restart(headSeq: number): void;
  /** Adds changes in the order of their seqs. What comes after a gap begins the ring anew. */
  append(changes: readonly Change[]): void;
  /** The hash of the change with this seq; null: it is not held. */
  hashOf(seq: number): string | null;
  /** The seq of the newest change it holds that marks this instrument; 0: it holds none. */
  newestMarkOf(instrument: string): number;
  /** Whether every change after this seq that there is at all is held. */
  covers(afterSeq: number): boolean;
  /** The oldest changes after a covered seq: up to `countMax`, and one more than fit in bytes. */
  read(afterSeq: number, limits: ReadLimits): readonly Change[];
}

export interface ReadLimits {
  readonly countMax: number;
  readonly bytesMax: number;
}

interface Held {
  readonly change: Change;
  readonly bytes: number;
}

export function createRing(limits: {
  readonly lengthMax: number;
  readonly bytesMax: number;
}): Ring {
  const { lengthMax } = limits;
  // The change of each seq stands at seq modulo the length.
  const slots: (Held | undefined)[] = [];
  const newestMarks = new Map<string, number>();
  let headSeq = 0;
  let length = 0;
  let bytes = 0;
  let { bytesMax } = limits;

  function restart(seq: number): void {
    slots.length = 0;
    newestMarks.clear();
    headSeq = seq;
    length = 0;
    bytes = 0;
  }

  function dropOldest(): void {
    const seq = headSeq - length + 1;
    const held = slots[seq % lengthMax];
    slots[seq % lengthMax] = undefined;
    length -= 1;
    if (held === undefined) return;
    bytes -= held.bytes;
    for (const instrument of markedBy(held.change)) {
      if (newestMarks.get(instrument) === seq) newestMarks.delete(instrument);
    }
  }

  return {
    get headSeq() {
      return headSeq;
    },
    get length() {
      return length;
    },
    get bytes() {
      return bytes;
    },
    lengthMax,
    limit(max) {
      bytesMax = max;
      while (bytes > bytesMax) dropOldest();
    },
    restart,
    append(changes) {
      for (const change of changes) {
        const seq = Number(change.seq);
        if (seq !== headSeq + 1) restart(seq - 1);
        if (length === lengthMax) dropOldest();
        const held = { change, bytes: bytesOf(change) };
        headSeq = seq;
        slots[seq % lengthMax] = held;
        for (const instrument of markedBy(change)) newestMarks.set(instrument, seq);
        length += 1;
        bytes += held.bytes;
        while (bytes > bytesMax) dropOldest();
      }
    },
    hashOf: (seq) =>
      seq > headSeq - length && seq <= headSeq
        ? (slots[seq % lengthMax]?.change.hash ?? null)
        : null,
    newestMarkOf: (instrument) => newestMarks.get(instrument) ?? 0,
    covers: (afterSeq) => afterSeq >= headSeq - length,
    read(afterSeq, { countMax, bytesMax: readBytesMax }) {
      const changes: Change[] = [];
      let readBytes = 0;
      for (let seq = afterSeq + 1; seq <= headSeq; seq += 1) {
        const held = slots[seq % lengthMax];
        if (held === undefined || changes.length >= countMax || readBytes > readBytesMax) break;
        changes.push(held.change);
        readBytes += held.bytes;
      }
      return changes;
    },
  };
}

const NONE: readonly string[] = [];

function markedBy({ entity, ids }: Change): readonly string[] {
  return entity === 'mark' ? ids : NONE;
}

const WORD_BYTES = 8;
const OBJECT_BYTES = 24;
const DEPTH_MAX = 32;

/** About how much memory a value from JSON takes; what is nested deeper than 32 is not counted. */
export function bytesOf(value: unknown, depth = 0): number {
  if (typeof value === 'string') return OBJECT_BYTES + value.length;
  if (typeof value !== 'object' || value === null || depth > DEPTH_MAX) return WORD_BYTES;
  let bytes = OBJECT_BYTES;
  for (const member of Object.values(value)) bytes += WORD_BYTES + bytesOf(member, depth + 1);
  return bytes;
}
