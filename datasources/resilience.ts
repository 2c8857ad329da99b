import {
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhen,
  type IBackoffFactory,
} from 'cockatiel';
import { AppError } from '../errors.ts';
import type { Call } from './lane.ts';

export type BreakerState = 'CLOSED' | 'HALF_OPEN' | 'OPEN';

export interface BreakerFigures {
  readonly state: BreakerState;
  /** Failures in a row until now. */
  readonly failures: number;
  /** How often it has opened since the start. */
  readonly opens: number;
  /** ISO 8601; null while it is closed. */
  readonly openedAt: string | null;
  /** Until it lets a probe through; null unless it is open. */
  readonly retryAfterMs: number | null;
}

export interface BreakerOptions {
  readonly failuresToOpen: number;
  readonly halfOpenAfterMs: number;
  /** The wait doubles up to here, while probes fail. */
  readonly halfOpenAfterMsMax: number;
  readonly successesToClose: number;
}

export interface Breaker {
  /**
   * Runs `work`, or fails at once.
   *
   * @throws AppError UNAVAILABLE with retryAfterMs while it is open, or its probes are under way
   */
  run<T>(work: () => Promise<T>): Promise<T>;
  /** Runs what belongs to work that was let through: never refused, and counted while closed. */
  runInside<T>(work: () => Promise<T>): Promise<T>;
  /** @throws AppError UNAVAILABLE when `run` would refuse */
  assertMayRun(): void;
  figures(): BreakerFigures;
}

const BREAKER_DEFAULTS: BreakerOptions = {
  failuresToOpen: 5,
  halfOpenAfterMs: 1000,
  halfOpenAfterMsMax: 60_000,
  successesToClose: 3,
};
/** How soon to come back while probes are under way. */
const PROBE_MS = 100;

/** A breaker that counts only the errors `isFailure` names; others pass through it as successes. */
export function createBreaker(
  name: string,
  isFailure: (error: unknown) => boolean,
  options: Partial<BreakerOptions> = {},
): Breaker {
  const { failuresToOpen, halfOpenAfterMs, halfOpenAfterMsMax, successesToClose } = {
    ...BREAKER_DEFAULTS,
    ...options,
  };
  let failures = 0;
  let opens = 0;
  let openedAtMs = 0;
  let waitMs = halfOpenAfterMs;
  let probes = 0;

  const backoff: IBackoffFactory<{ attempt: number }> = {
    next({ attempt }) {
      waitMs = Math.min(halfOpenAfterMsMax, halfOpenAfterMs * 2 ** (attempt - 1));
      return { duration: waitMs, next: backoff.next };
    },
  };
  // What says nothing about the database while it works is no success while it may not.
  const isCounted = (error: unknown) =>
    isFailure(error) || (policy.state === CircuitState.HalfOpen && isLate(error));
  const policy = circuitBreaker(handleWhen(isCounted), {
    breaker: new ConsecutiveBreaker(failuresToOpen),
    halfOpenAfter: backoff,
    halfOpenSampling: { calls: successesToClose, threshold: 0 },
  });
  policy.onBreak(() => {
    opens += 1;
    openedAtMs = Date.now();
  });
  policy.onHalfOpen(() => {
    probes = 0;
  });

  function remainingMs(): number {
    return Math.max(0, openedAtMs + waitMs - Date.now());
  }

  // The library would let callers behind the probes wait for them, whatever their deadlines.
  function assertMayRun(): void {
    const { state } = policy;
    if (state === CircuitState.Open && remainingMs() > 0) throw refusal(name, remainingMs());
    if (state === CircuitState.HalfOpen && probes >= successesToClose)
      throw refusal(name, PROBE_MS);
  }

  // The library is told what it must know and no more: this is run for each statement.
  async function watched<T>(work: () => Promise<T>): Promise<T> {
    try {
      const result = await work();
      if (failures > 0) await tell(() => undefined);
      return result;
    } catch (error) {
      if (isFailure(error)) await tell(() => Promise.reject(error));
      throw error;
    }
  }

  async function tell(outcome: () => unknown): Promise<void> {
    // An answer that comes after others have opened the breaker is no probe.
    if (policy.state === CircuitState.Closed) await probe(outcome).catch(ignore);
  }

  async function probe<T>(work: () => PromiseLike<T> | T): Promise<T> {
    try {
      const result = await policy.execute(work);
      failures = 0;
      return result;
    } catch (error) {
      if (isFailure(error)) failures += 1;
      throw error;
    }
  }

  return {
    assertMayRun,
    run(work) {
      assertMayRun();
      if (policy.state === CircuitState.Closed) return watched(work);
      return probe(() => {
        probes += 1;
        return work();
      });
    },
    runInside: (work) => (policy.state === CircuitState.Closed ? watched(work) : work()),
    figures() {
      const { state } = policy;
      return {
        state: STATES[state],
        failures,
        opens,
        openedAt: state === CircuitState.Closed ? null : new Date(openedAtMs).toISOString(),
        retryAfterMs: state === CircuitState.Open ? remainingMs() : null,
      };
    },
  };
}

function isLate(error: unknown): boolean {
  return error instanceof AppError && error.code === 'DEADLINE_EXCEEDED';
}

function ignore(): void {
  // It was told the library, and is thrown to the caller.
}

const STATES: Readonly<Record<CircuitState, BreakerState>> = {
  [CircuitState.Closed]: 'CLOSED',
  [CircuitState.HalfOpen]: 'HALF_OPEN',
  [CircuitState.Open]: 'OPEN',
  [CircuitState.Isolated]: 'OPEN',
};

function refusal(name: string, retryAfterMs: number): AppError {
  return new AppError(
    'UNAVAILABLE',
    `The ${name} connections failed several times in a row: they are tried again shortly.`,
    { retryAfterMs: Math.max(1, Math.ceil(retryAfterMs)) },
  );
}

/** Keeps retries from doubling the load of a database that is in trouble. */
export interface RetryBudget {
  /** Counts work that is tried for the first time. */
  earn(): void;
  /** Whether one more retry is within the budget; if so it is taken from it. */
  spend(): boolean;
  figures(): { readonly retries: number; readonly refused: number };
}

/** What a first try adds, where a retry costs ten: whole numbers, which add up. */
const RETRY_COST = 10;
/** What may be saved up: retries in a burst after a quiet hour. */
const BUDGET_MAX = 100;

/** A budget of one retry in ten first tries, with some to start with. */
export function createRetryBudget(max = BUDGET_MAX): RetryBudget {
  const tokensMax = max * RETRY_COST;
  let tokens = tokensMax;
  let retries = 0;
  let refused = 0;
  return {
    earn() {
      if (tokens < tokensMax) tokens += 1;
    },
    spend() {
      if (tokens < RETRY_COST) {
        refused += 1;
        return false;
      }
      tokens -= RETRY_COST;
      retries += 1;
      return true;
    },
    figures: () => ({ retries, refused }),
  };
}

/** The budget of requests of this process. */
export const requestRetries: RetryBudget = createRetryBudget();

export interface RetryOptions {
  /** Further tries after the first. */
  readonly retriesMax?: number;
  readonly baseMs?: number;
  readonly capMs?: number;
  readonly budget?: RetryBudget;
}

const RETRIES_MAX = 3;
const RETRY_BASE_MS = 25;
const RETRY_CAP_MS = 1000;

/**
 * Runs `work`, again after an error that `isRetryable` names: after a random wait of up to 25, 50
 * and 100 ms, within the call's deadline, its signal and the budget. Otherwise the last error.
 */
export async function withRetry<T>(
  call: Call,
  work: () => Promise<T>,
  isRetryable: (error: unknown) => boolean,
  options: RetryOptions = {},
): Promise<T> {
  const { retriesMax = RETRIES_MAX, budget = requestRetries } = options;
  const { baseMs = RETRY_BASE_MS, capMs = RETRY_CAP_MS } = options;
  budget.earn();
  for (let retries = 0; ; retries += 1) {
    try {
      return await work();
    } catch (error) {
      if (retries >= retriesMax || !isRetryable(error)) throw error;
      const waitMs = Math.random() * Math.min(capMs, baseMs * 2 ** retries);
      if (performance.now() + waitMs >= call.deadlineAt) throw error;
      if (call.signal?.aborted || !budget.spend()) throw error;
      // Aborted meanwhile: the caller has gone, and nobody needs another try.
      if (!(await pause(waitMs, call.signal))) throw error;
    }
  }
}

/** Whether it was waited to the end; false when the signal came first. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (isWhole: boolean) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      resolve(isWhole);
    };
    const onAbort = () => end(false);
    const timer = setTimeout(() => end(true), ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
