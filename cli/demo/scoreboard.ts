import type { Direction } from './inputs.ts';
import type { MarketStep } from './market.ts';
import { directionOf, HORIZONS, type Horizon } from './predictions.ts';

/** Counts which predictions came true, from the candles alone, as a reader of them would. */
export interface Scoreboard {
  /** Steps come oldest first. */
  add(step: MarketStep): void;
  /** Share of the resolved horizons that were right; null: none is resolved. */
  hitRate(): number | null;
}

interface Pending {
  readonly horizon: Horizon;
  readonly symbol: string;
  readonly direction: Direction;
  readonly close: number;
}

/** Holds what is not resolved yet: at most the longest horizon's worth of predictions. */
export function createScoreboard(): Scoreboard {
  const pendingByDueMs = new Map<number, Pending[]>();
  let resolved = 0;
  let correct = 0;
  return {
    add(step) {
      const closes = new Map(step.candles.map((each) => [each.symbol, Number(each.close)]));
      for (const pending of pendingByDueMs.get(step.openTimeMs) ?? []) {
        const close = closes.get(pending.symbol);
        if (close !== undefined) {
          resolved += 1;
          const actual = directionOf(pending.horizon, close / pending.close - 1);
          correct += actual === pending.direction ? 1 : 0;
        }
      }
      for (const dueMs of pendingByDueMs.keys()) {
        // What fell into a gap is never resolved, so it is not wrong either.
        if (dueMs <= step.openTimeMs) {
          pendingByDueMs.delete(dueMs);
        }
      }
      addPending(pendingByDueMs, step);
    },
    hitRate: () => (resolved === 0 ? null : correct / resolved),
  };
}

function addPending(pendingByDueMs: Map<number, Pending[]>, step: MarketStep): void {
  for (const prediction of step.predictions) {
    for (const [index, item] of prediction.horizons.entries()) {
      const horizon = HORIZONS[index];
      if (horizon === undefined) {
        continue;
      }
      const dueMs = step.openTimeMs + horizon.minutes * 60_000;
      const due = pendingByDueMs.get(dueMs) ?? [];
      pendingByDueMs.set(dueMs, due);
      due.push({
        horizon,
        symbol: prediction.symbol,
        direction: item.direction,
        close: Number(prediction.price),
      });
    }
  }
}
