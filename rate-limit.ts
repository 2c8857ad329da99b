import type { Actor } from './access.ts';
import type { RateLimits } from './config.ts';
import { AppError } from './errors.ts';
import { countOf, createLedger, EVERYBODY, type UsageReport } from './key-usage.ts';
/** Gives back what was taken; may be called twice. */
export type Release = () => void;

/** What each key may use of this process and of those it hears of, told from memory. */
export interface RateLimiter {
  /**
   * Begins an operation, which costs one unit, until it is released. To be asked before a request
   * is parsed.
   *
   * @throws AppError RATE_LIMITED while the key owes units or has too many operations under way
   */
  admit(actor: Actor): Release;
  /** Takes more than there is, too: what follows waits until it is paid. */
  charge(actor: Actor, units: number): void;
  /** Opens a socket, whoever it is of. @throws AppError OVERLOADED while there are too many */
  openSocket(): Release;
  /** Says whose a socket is. @throws AppError RATE_LIMITED while that key has too many */
  ownSocket(actor: Actor): Release;
  /** Begins a subscription. @throws AppError RATE_LIMITED while the key has too many */
  openStream(actor: Actor): Release;
  /** What has changed here since the last call, for the other processes. */
  report(): UsageReport;
  /** Counts what another process reports as if it were used here. */
  hear(from: number, report: UsageReport): void;
  /** A process is gone, and holds nothing any more. */
  forget(from: number): void;
}

/** Open subscriptions of a key, however many sockets they share. */
export const STREAMS_PER_KEY_MAX = 10_000;

/** When to try again where nothing says when there will be room. */
const RETRY_AFTER_MS = 1000;

/** One that is shared has somebody who takes its reports. */
export function createRateLimiter(
  limits: RateLimits,
  nowMs: () => number = () => performance.now(),
  isShared = false,
): RateLimiter {
  const ledger = createLedger(limits, nowMs, isShared);
  return {
    admit({ name }) {
      const usage = ledger.usageOf(name);
      if (usage.units < 1) {
        const { unitsPerSecond } = limits;
        const waitMs = Math.ceil(((1 - usage.units) / unitsPerSecond) * 1000);
        throw limited(`This key may spend ${unitsPerSecond} units of cost a second.`, waitMs);
      }
      const operations = countOf(usage, 'operations');
      if (operations >= limits.operationsPerKeyMax) {
        throw limited(`This key has ${operations} operations under way already.`);
      }
      ledger.spend(usage, 1);
      return ledger.take(usage, 'operations');
    },
    charge: ({ name }, units) => ledger.spend(ledger.usageOf(name), units),
    openSocket() {
      const usage = ledger.usageOf(EVERYBODY);
      const sockets = countOf(usage, 'sockets');
      if (sockets >= limits.socketsMax) {
        throw new AppError('OVERLOADED', `There are ${sockets} sockets open already.`, {
          retryAfterMs: RETRY_AFTER_MS,
        });
      }
      return ledger.take(usage, 'sockets');
    },
    ownSocket({ name }) {
      const usage = ledger.usageOf(name);
      const sockets = countOf(usage, 'sockets');
      if (sockets >= limits.socketsPerKeyMax) {
        throw limited(`This key has ${sockets} sockets open already.`);
      }
      return ledger.take(usage, 'sockets');
    },
    openStream({ name }) {
      const usage = ledger.usageOf(name);
      const streams = countOf(usage, 'streams');
      if (streams >= STREAMS_PER_KEY_MAX) {
        throw limited(`This key has ${streams} subscriptions open already.`);
      }
      return ledger.take(usage, 'streams');
    },
    report: ledger.report,
    hear: ledger.hear,
    forget: ledger.forget,
  };
}

function limited(message: string, retryAfterMs = RETRY_AFTER_MS): AppError {
  return new AppError('RATE_LIMITED', message, { retryAfterMs });
}
