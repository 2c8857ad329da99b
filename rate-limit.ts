import type { Actor } from './access.ts';
import type { RateLimits } from './config.ts';
import { AppError } from './errors.ts';

/** Gives back what was taken; may be called twice. */
export type Release = () => void;

/** What each key may use of this process, told from memory. */
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
}

/** Open subscriptions of a key, however many sockets they share. */
export const STREAMS_PER_KEY_MAX = 10_000;

/** When to try again where nothing says when there will be room. */
const RETRY_AFTER_MS = 1000;
/** Beyond this many keys, those of which nothing is to be remembered are forgotten. */
const KEYS_MAX = 10_000;

interface Usage {
  units: number;
  atMs: number;
  operations: number;
  sockets: number;
  streams: number;
}

export function createRateLimiter(
  limits: RateLimits,
  nowMs: () => number = () => performance.now(),
): RateLimiter {
  const { unitsPerSecond, unitsBurst } = limits;
  const usages = new Map<string, Usage>();
  let sockets = 0;

  function usageOf({ name }: Actor): Usage {
    const known = usages.get(name);
    if (known !== undefined) {
      refill(known);
      return known;
    }
    if (usages.size >= KEYS_MAX) forget();
    const usage = { units: unitsBurst, atMs: nowMs(), operations: 0, sockets: 0, streams: 0 };
    usages.set(name, usage);
    return usage;
  }

  function refill(usage: Usage): void {
    const now = nowMs();
    const earned = ((now - usage.atMs) / 1000) * unitsPerSecond;
    usage.units = Math.min(unitsBurst, usage.units + earned);
    usage.atMs = now;
  }

  function forget(): void {
    for (const [name, usage] of usages) {
      refill(usage);
      const used = usage.operations + usage.sockets + usage.streams;
      if (used === 0 && usage.units === unitsBurst) usages.delete(name);
    }
  }

  return {
    admit(actor) {
      const usage = usageOf(actor);
      if (usage.units < 1) {
        const waitMs = Math.ceil(((1 - usage.units) / unitsPerSecond) * 1000);
        throw limited(`This key may spend ${unitsPerSecond} units of cost a second.`, waitMs);
      }
      if (usage.operations >= limits.operationsPerKeyMax) {
        throw limited(`This key has ${usage.operations} operations under way already.`);
      }
      usage.units -= 1;
      usage.operations += 1;
      return once(() => {
        usage.operations -= 1;
      });
    },
    charge(actor, units) {
      usageOf(actor).units -= units;
    },
    openSocket() {
      if (sockets >= limits.socketsMax) {
        throw new AppError('OVERLOADED', `There are ${sockets} sockets open already.`, {
          retryAfterMs: RETRY_AFTER_MS,
        });
      }
      sockets += 1;
      return once(() => {
        sockets -= 1;
      });
    },
    ownSocket(actor) {
      const usage = usageOf(actor);
      if (usage.sockets >= limits.socketsPerKeyMax) {
        throw limited(`This key has ${usage.sockets} sockets open already.`);
      }
      usage.sockets += 1;
      return once(() => {
        usage.sockets -= 1;
      });
    },
    openStream(actor) {
      const usage = usageOf(actor);
      if (usage.streams >= STREAMS_PER_KEY_MAX) {
        throw limited(`This key has ${usage.streams} subscriptions open already.`);
      }
      usage.streams += 1;
      return once(() => {
        usage.streams -= 1;
      });
    },
  };
}

function once(work: () => void): Release {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}

function limited(message: string, retryAfterMs = RETRY_AFTER_MS): AppError {
  return new AppError('RATE_LIMITED', message, { retryAfterMs });
}
