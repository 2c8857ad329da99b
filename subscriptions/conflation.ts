import type { PositionEvent } from './position.ts';

/**
 * Holds events back for a screen that wants at most one round per interval. Within a round only the
 * newest event of each position is kept; it stands for `fromSeq` to `seq`.
 */
export interface Conflation {
  readonly isEmpty: boolean;
  add(event: PositionEvent): void;
  /** Forgets what is held back: it belongs to a history that is gone. */
  clear(): void;
  /** The events whose time has come, by seq, so that a reader can resume after any of them. */
  due(nowMs: number): readonly PositionEvent[];
  /** Until the next round; null when nothing is held back. */
  waitMs(nowMs: number): number | null;
}

export function createConflation(minIntervalMs: number): Conflation {
  const pending = new Map<string, PositionEvent>();
  const direct: PositionEvent[] = [];
  let roundAtMs = Number.NEGATIVE_INFINITY;
  return {
    get isEmpty() {
      return pending.size === 0 && direct.length === 0;
    },
    add(event) {
      if (minIntervalMs === 0) {
        direct.push(event);
        return;
      }
      const id = event.position?.id ?? '';
      const earlier = pending.get(id);
      // Set anew, so that the map stays in the order of the newest seqs.
      pending.delete(id);
      const fromSeq = earlier === undefined ? event.seq : (earlier.fromSeq ?? earlier.seq);
      pending.set(id, { ...event, fromSeq, before: earlier?.before ?? event.before });
    },
    clear() {
      pending.clear();
      direct.length = 0;
    },
    due(nowMs) {
      if (minIntervalMs === 0) return direct.splice(0);
      if (pending.size === 0 || nowMs < roundAtMs + minIntervalMs) return [];
      roundAtMs = nowMs;
      const events = [...pending.values()];
      pending.clear();
      return events;
    },
    waitMs(nowMs) {
      if (pending.size === 0) return null;
      return Math.max(1, roundAtMs + minIntervalMs - nowMs);
    },
  };
}
