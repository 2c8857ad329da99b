import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../subscriptions/clock.ts';

/** A clock that stands still until it is moved. */
export interface TestClock extends Clock {
  /** Timers that are set. */
  readonly timers: number;
  /** Moves on; timers that come due are rung. */
  advance(ms: number): void;
  /** Moves on step by step; it stands still while something is under way. */
  pass(ms: number): Promise<void>;
  /** As `pass`, until the promise is settled. */
  passUntil<T>(settled: Promise<T>): Promise<T>;
}

const STEP_MS = 10;

/** `isBusy` says whether real work is under way, which takes no time of this clock. */
export function createTestClock(isBusy: () => boolean = () => false): TestClock {
  const timers = new Set<{ readonly atMs: number; readonly ring: () => void }>();
  let now = 0;

  function advance(ms: number): void {
    now += ms;
    for (const timer of [...timers]) {
      if (timer.atMs > now || !timers.delete(timer)) continue;
      timer.ring();
    }
  }

  async function step(): Promise<void> {
    await setImmediate();
    if (!isBusy()) advance(STEP_MS);
  }

  return {
    get timers() {
      return timers.size;
    },
    nowMs: () => now,
    setTimer(delayMs, ring) {
      const timer = { atMs: now + delayMs, ring };
      timers.add(timer);
      return () => {
        timers.delete(timer);
      };
    },
    advance,
    async pass(ms) {
      const endMs = now + ms;
      while (now < endMs) await step();
    },
    async passUntil(settled) {
      let isSettled = false;
      const end = () => {
        isSettled = true;
      };
      settled.then(end, end);
      await setImmediate();
      while (!isSettled) await step();
      return settled;
    },
  };
}
