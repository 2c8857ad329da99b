import type { Change } from '../datasources/change.ts';

/** What a ring counts for a change besides its ids. */
const CHANGE_BYTES = 2500;
const ID_BYTES = 60;

/**
 * The newest changes of one account without a gap, oldest first. What exceeds the bounds leaves at
 * the old end; readers that need it go to the table.
 */
export interface Ring {
  /** The seq of the last change, or the one given when the ring was made. */
  readonly lastSeq: number;
  /** Adds the changes that follow the last one. */
  append(changes: readonly Change[]): void;
  /** Whether every change after this seq is here. */
  covers(afterSeq: number): boolean;
  /** Up to `limit` changes after a seq that is covered. */
  after(afterSeq: number, limit: number): readonly Change[];
}

export function createRing(headSeq: number, lengthMax: number, bytesMax: number): Ring {
  let changes: Change[] = [];
  // The oldest live entry; the dead ones before it are cut off now and then, not one by one.
  let start = 0;
  let bytes = 0;
  let lastSeq = headSeq;

  function trim(): void {
    while (changes.length - start > lengthMax || (bytes > bytesMax && start < changes.length)) {
      bytes -= sizeOf(changes[start]);
      start += 1;
    }
    if (start > changes.length / 2) {
      changes = changes.slice(start);
      start = 0;
    }
  }

  return {
    get lastSeq() {
      return lastSeq;
    },
    append(next) {
      for (const change of next) {
        const seq = Number(change.seq);
        if (seq !== lastSeq + 1) throw new Error(`change ${seq} follows ${lastSeq}`);
        changes.push(change);
        bytes += sizeOf(change);
        lastSeq = seq;
      }
      trim();
    },
    covers: (afterSeq) => afterSeq >= lastSeq - (changes.length - start),
    after(afterSeq, limit) {
      const from = changes.length - Math.max(0, lastSeq - afterSeq);
      return changes.slice(Math.max(from, start), from + limit);
    },
  };
}

function sizeOf(change: Change | undefined): number {
  return change === undefined ? 0 : CHANGE_BYTES + change.ids.length * ID_BYTES;
}
