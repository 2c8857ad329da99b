import { LRUCache } from 'lru-cache';
import type { BreakerFigures } from './resilience.ts';

/**
 * Where results stand between requests. It may lose anything at any time and nothing is ever taken
 * out of it: whether what it gives is still true is for the reader to find out.
 */
export interface CacheStore {
  readonly backend: 'memory' | 'redis';
  /** The text under this key, or null; it never fails. */
  get(key: string): Promise<string | null> | string | null;
  /** Keeps a text for `ttlMs` at most. One that is longer than VALUE_BYTES_MAX is not kept. */
  set(key: string, text: string, ttlMs: number): void;
  figures(): StoreFigures;
  close(): Promise<void>;
}

export interface StoreFigures {
  /** Of Redis as it was counted when this was last asked for, a second ago or more. */
  readonly entries: number;
  readonly isAvailable: boolean;
  /** Null: nothing can fail. */
  readonly breaker: BreakerFigures | null;
}

export const VALUE_BYTES_MAX = 128 * 1024;

export interface MemoryStoreOptions {
  readonly entriesMax?: number;
  readonly bytesMax?: number;
}

const MEMORY_ENTRIES_MAX = 10_000;
const MEMORY_BYTES_MAX = 64 * 1024 * 1024;

/** A store of this process: the entries used last, up to a number and a size. */
export function createMemoryStore(options: MemoryStoreOptions = {}): CacheStore {
  const { entriesMax = MEMORY_ENTRIES_MAX, bytesMax = MEMORY_BYTES_MAX } = options;
  const entries = new LRUCache<string, string>({
    max: entriesMax,
    maxSize: bytesMax,
    sizeCalculation: (text, key) => Buffer.byteLength(text) + key.length,
  });
  return {
    backend: 'memory',
    get: (key) => entries.get(key) ?? null,
    set(key, text, ttlMs) {
      if (Buffer.byteLength(text) <= VALUE_BYTES_MAX) entries.set(key, text, { ttl: ttlMs });
    },
    figures: () => ({ entries: entries.size, isAvailable: true, breaker: null }),
    async close() {
      entries.clear();
    },
  };
}
