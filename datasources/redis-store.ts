import { hash } from 'node:crypto';
import type { Logger } from 'pino';
import { type CacheStore, VALUE_BYTES_MAX } from './cache-store.ts';
import { connectRedis } from './redis.ts';
import { type BreakerOptions, createBreaker } from './resilience.ts';

export interface RedisStoreOptions {
  readonly url: string;
  readonly log: Logger;
  /** Of whose results these are: another database, or another version of this program, has its own. */
  readonly namespace: string;
  readonly breaker?: Partial<BreakerOptions>;
}

/**
 * Keys that are used, all in all: each result has its place by its hash, and the last one that came
 * to a place stands there. So many values of VALUE_BYTES_MAX are 256 MiB.
 */
export const REDIS_PLACES = 2048;
const HALF_OPEN_AFTER_MS_MAX = 5000;
const COUNT_EVERY_MS = 1000;

/**
 * A store that all nodes share. Redis away or silent is an empty store: commands fail after 100 ms,
 * and after five failures in a row none is sent for a second or more.
 *
 * @throws FatalError for a URL that is none
 */
export function createRedisStore(options: RedisStoreOptions): CacheStore {
  const { url, log, namespace } = options;
  const redis = connectRedis(url, log, 'cache');
  const breaker = createBreaker('redis', () => true, {
    halfOpenAfterMsMax: HALF_OPEN_AFTER_MS_MAX,
    ...options.breaker,
  });
  const places = Array.from({ length: REDIS_PLACES }, (_none, place) => nameOf(place));
  let entries = 0;
  let countedAtMs = Number.NEGATIVE_INFINITY;

  function nameOf(place: number): string {
    return `tradewind:cache:${namespace}:${place}`;
  }

  function placeOf(key: string): string {
    return nameOf(Number.parseInt(hash('sha256', key, 'hex').slice(0, 8), 16) % REDIS_PLACES);
  }

  async function count(): Promise<void> {
    countedAtMs = performance.now();
    entries = await breaker.run(() => redis.exists(...places));
  }

  // As `count`: an open breaker refuses at once, which is to be a rejection.
  async function put(key: string, text: string, ttlMs: number): Promise<void> {
    const ttl = Math.max(1, Math.ceil(ttlMs));
    await breaker.run(() => redis.set(placeOf(key), `${key}\n${text}`, 'PX', ttl));
  }

  return {
    backend: 'redis',
    async get(key) {
      try {
        const found = await breaker.run(() => redis.get(placeOf(key)));
        // Another result may have the same place.
        if (found === null || !found.startsWith(`${key}\n`)) return null;
        return found.slice(key.length + 1);
      } catch {
        // Redis is away: that it is was logged once, and the database has the answer.
        return null;
      }
    },
    set(key, text, ttlMs) {
      if (Buffer.byteLength(text) <= VALUE_BYTES_MAX) put(key, text, ttlMs).catch(ignore);
    },
    figures() {
      if (performance.now() - countedAtMs > COUNT_EVERY_MS) count().catch(ignore);
      const figures = breaker.figures();
      const isAvailable = figures.state === 'CLOSED' && redis.status === 'ready';
      return { entries: isAvailable ? entries : 0, isAvailable, breaker: figures };
    },
    async close() {
      redis.disconnect();
    },
  };
}

function ignore(): void {
  // As in `get`.
}
