/** Something of a change that one subscription is told. */
export interface Told {
  /** What it is about: of several about one thing the newest counts. */
  readonly key: string;
  readonly seq: string;
  /** The first seq it stands for; null: it stands for itself alone. */
  readonly fromSeq: string | null;
}

/**
 * Holds back what a stream tells until its time has come: at once, or a round each `minIntervalMs`
 * with the newest of each key. A round is in the order of seqs, so a client that resumes after any
 * event of it misses nothing: what it was not told yet has a higher seq.
 */
export interface Conflation<Item> {
  readonly size: number;
  /** No more may be added before a round is taken, though its time may not have come. */
  readonly isFull: boolean;
  add(item: Item): void;
  /** Whether the time of the next round has come. */
  isDue(nowMs: number): boolean;
  /** The round, which ends with that. */
  take(nowMs: number): readonly Item[];
  /** Until the next round; null when nothing is held back. */
  waitMs(nowMs: number): number | null;
}

/** Keys that are held back at most, give or take those of one read. */
export const CONFLATED_MAX = 10_000;

/** `merge` makes one of two about the same thing, the earlier first. */
export function createConflation<Item extends Told>(
  minIntervalMs: number,
  merge: (earlier: Item, later: Item) => Item,
): Conflation<Item> {
  let direct: Item[] = [];
  const newest = new Map<string, Item>();
  let dueAtMs = Number.NEGATIVE_INFINITY;

  function take(): readonly Item[] {
    if (minIntervalMs > 0) {
      const round = [...newest.values()];
      newest.clear();
      return round;
    }
    const items = direct;
    direct = [];
    return items;
  }

  return {
    get size() {
      return direct.length + newest.size;
    },
    get isFull() {
      return newest.size >= CONFLATED_MAX;
    },
    add(item) {
      if (minIntervalMs === 0) {
        direct.push(item);
        return;
      }
      const earlier = newest.get(item.key);
      // Set anew, so that the map stays in the order of seqs.
      newest.delete(item.key);
      newest.set(item.key, earlier === undefined ? item : merge(earlier, item));
    },
    isDue: (nowMs) => nowMs >= dueAtMs,
    take(nowMs) {
      dueAtMs = nowMs + minIntervalMs;
      return take();
    },
    waitMs: (nowMs) => (newest.size === 0 ? null : Math.max(0, dueAtMs - nowMs)),
  };
}
