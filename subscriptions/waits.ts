import type { Clock } from './clock.ts';

export interface WaitLimits {
  /** Left out: for as long as it takes. */
  readonly timeMs?: number;
  readonly signal?: AbortSignal;
}

/** Those who wait for one thing to happen. Whoever stops waiting leaves nothing behind. */
export interface Waits {
  /** How many wait. */
  readonly size: number;
  /**
   * Resolves with `rung` at the next `ringAll`, with `late` after `timeMs`.
   *
   * @throws the signal's reason once it is aborted; the error of `failAll`
   */
  wait(limits?: WaitLimits): Promise<'rung' | 'late'>;
  ringAll(): void;
  failAll(error: Error): void;
}

interface Waiter {
  resolve(outcome: 'rung' | 'late'): void;
  reject(error: unknown): void;
}

export function createWaits(clock: Clock): Waits {
  const waiters = new Set<Waiter>();

  return {
    get size() {
      return waiters.size;
    },
    wait({ timeMs, signal } = {}) {
      if (signal?.aborted) return Promise.reject(signal.reason);
      return new Promise((resolve, reject) => {
        const abort = () => waiter.reject(signal?.reason);
        const stopTimer =
          timeMs === undefined ? null : clock.setTimer(timeMs, () => waiter.resolve('late'));
        function leave(): void {
          waiters.delete(waiter);
          stopTimer?.();
          signal?.removeEventListener('abort', abort);
        }
        const waiter: Waiter = {
          resolve(outcome) {
            leave();
            resolve(outcome);
          },
          reject(error) {
            leave();
            reject(error);
          },
        };
        waiters.add(waiter);
        signal?.addEventListener('abort', abort, { once: true });
      });
    },
    ringAll() {
      for (const waiter of [...waiters]) waiter.resolve('rung');
    },
    failAll(error) {
      for (const waiter of [...waiters]) waiter.reject(error);
    },
  };
}

/** @throws the signal's reason once it is aborted */
export async function sleep(clock: Clock, timeMs: number, signal: AbortSignal): Promise<void> {
  await createWaits(clock).wait({ timeMs, signal });
}

/** The value of `work`, or the signal's reason as soon as it is aborted; `work` itself goes on. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (abort !== undefined) signal.removeEventListener('abort', abort);
  }
}
