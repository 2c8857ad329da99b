import { Redis } from 'ioredis';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type CacheStore,
  createMemoryStore,
  VALUE_BYTES_MAX,
} from '../../../datasources/cache-store.ts';
import { createRedisStore, REDIS_PLACES } from '../../../datasources/redis-store.ts';
import { eventually } from '../../support/eventually.ts';
import { HAS_REDIS, startTestRedis, type TestRedis } from '../../support/redis.ts';

const log = pino({ level: 'silent' });
const HOUR_MS = 3_600_000;

let redis: TestRedis | null = null;
let store: CacheStore;
const opened: CacheStore[] = [];
let namespaces = 0;

beforeAll(async () => {
  if (HAS_REDIS) redis = await startTestRedis();
});

afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

afterAll(() => redis?.stop());

function urlOf(running: TestRedis | null): string {
  if (running === null) throw new Error('there is no redis-server');
  return running.url;
}

async function openRedis(namespace: string): Promise<CacheStore> {
  const breaker = { failuresToOpen: 3, halfOpenAfterMs: 20, halfOpenAfterMsMax: 20 };
  const one = createRedisStore({ url: urlOf(redis), log, namespace, breaker });
  opened.push(one);
  await eventually(() => expect(one.figures().isAvailable).toBe(true));
  return one;
}

function openNewRedis(): Promise<CacheStore> {
  namespaces += 1;
  return openRedis(`test-${namespaces}`);
}

const BACKENDS = [
  { backend: 'memory', open: async () => createMemoryStore() },
  { backend: 'redis', open: openNewRedis },
];

describe.each(BACKENDS)('a store in $backend', ({ backend, open }) => {
  const isSkipped = backend === 'redis' && !HAS_REDIS;

  beforeEach(async ({ skip }) => {
    if (isSkipped) skip();
    store = await open();
  });

  /** Until what was set is there: a store may take its time. */
  async function put(key: string, text: string, ttlMs = HOUR_MS): Promise<void> {
    await eventually(async () => {
      store.set(key, text, ttlMs);
      expect(await store.get(key)).toBe(text);
    });
  }

  it('says what it is', () => {
    expect(store.backend).toBe(backend);
    expect(store.figures()).toMatchObject({ isAvailable: true });
  });

  it('gives what was set, and nothing else', async () => {
    expect(await store.get('a')).toBeNull();
    await put('a', 'one\n{"é":"😀"}');
    expect(await store.get('b')).toBeNull();
  });

  it('gives what was set last', async () => {
    await put('a', 'one');
    await put('a', 'two');
    expect(await store.get('a')).toBe('two');
  });

  it('forgets an entry when its time is over', async () => {
    await put('a', 'one', 50);
    await eventually(async () => expect(await store.get('a')).toBeNull());
  });

  it('takes a value at the bound and none above', async () => {
    await put('a', 'x'.repeat(VALUE_BYTES_MAX));
    store.set('b', 'x'.repeat(VALUE_BYTES_MAX + 1), HOUR_MS);
    await put('c', 'after it');
    expect(await store.get('b')).toBeNull();
  });

  it('counts its entries', async () => {
    await put('a', 'one');
    // A store that counts from time to time has a new count when it is new.
    await eventually(() => expect(store.figures().entries).toBeGreaterThanOrEqual(1));
  });
});

describe('a store in memory', () => {
  it('holds as many entries as it may and loses the one used longest ago', () => {
    store = createMemoryStore({ entriesMax: 3 });
    for (const key of ['a', 'b', 'c']) store.set(key, key, HOUR_MS);
    store.get('a');
    store.set('d', 'd', HOUR_MS);
    expect(['a', 'b', 'c', 'd'].map((key) => store.get(key))).toEqual(['a', null, 'c', 'd']);
    expect(store.figures().entries).toBe(3);
  });

  it('holds as many bytes as it may', () => {
    store = createMemoryStore({ bytesMax: 100 });
    for (const key of ['a', 'b', 'c']) store.set(key, 'é'.repeat(20), HOUR_MS);
    expect(store.figures().entries).toBe(2);
    expect(store.get('a')).toBeNull();
  });
});

describe.skipIf(!HAS_REDIS)('a store in redis', () => {
  it('keeps the results of databases apart', async () => {
    const [one, other] = [await openRedis('one'), await openRedis('other')];
    one.set('a', 'text', HOUR_MS);
    await eventually(async () => expect(await one.get('a')).toBe('text'));
    expect(await other.get('a')).toBeNull();
  });

  it('is shared by nodes', async () => {
    const [one, other] = [await openRedis('shared'), await openRedis('shared')];
    one.set('a', 'text', HOUR_MS);
    await eventually(async () => expect(await other.get('a')).toBe('text'));
  });

  it('uses so many keys and no more, each with an end', async () => {
    store = await openRedis('bounded');
    const client = new Redis(urlOf(redis));
    try {
      await client.flushall();
      for (let key = 0; key < REDIS_PLACES * 3; key += 1) {
        store.set(`key ${key}`, 'text', HOUR_MS);
        // Not so many at once that some would be late.
        if (key % 64 === 0) await store.get(`key ${key}`);
      }
      const keys = await client.keys('*');
      expect(keys.length).toBeLessThanOrEqual(REDIS_PLACES);
      expect(keys.length).toBeGreaterThan(REDIS_PLACES / 2);
      const ttl = await client.pttl(keys[0] ?? '');
      expect(ttl).toBeGreaterThan(0);
      expect(ttl).toBeLessThanOrEqual(HOUR_MS);
    } finally {
      client.disconnect();
    }
  });

  it('does not give what stands in the place of another key', async () => {
    store = await openRedis('taken');
    const client = new Redis(urlOf(redis));
    try {
      store.set('a', 'text', HOUR_MS);
      await eventually(async () => expect(await store.get('a')).toBe('text'));
      const [place] = await client.keys('tradewind:cache:taken:*');
      for (const text of ['b\ntext', 'a', '', 'ab\ntext']) {
        await client.set(place ?? '', text);
        expect(await store.get('a')).toBeNull();
      }
    } finally {
      client.disconnect();
    }
  });

  it('is empty while redis is frozen, killed or flushed, and full again after that', async () => {
    const own = await startTestRedis();
    const breaker = { failuresToOpen: 3, halfOpenAfterMs: 20, halfOpenAfterMsMax: 20 };
    store = createRedisStore({ url: own.url, log, namespace: 'away', breaker });
    opened.push(store);
    const fill = () =>
      eventually(async () => {
        store.set('a', 'text', HOUR_MS);
        expect(await store.get('a')).toBe('text');
      });
    const untilAway = () =>
      eventually(async () => {
        expect(await store.get('a')).toBeNull();
        expect(store.figures()).toMatchObject({ isAvailable: false, entries: 0 });
      });
    try {
      await fill();
      own.freeze();
      await untilAway();
      await eventually(async () => {
        expect(await store.get('a')).toBeNull();
        expect(store.figures().breaker?.state).not.toBe('CLOSED');
      });
      own.thaw();
      await fill();
      await eventually(() => expect(store.figures().isAvailable).toBe(true));
      await own.kill();
      await untilAway();
      await own.restart();
      await fill();
      const client = new Redis(own.url);
      await client.flushall();
      client.disconnect();
      expect(await store.get('a')).toBeNull();
      await fill();
    } finally {
      own.thaw();
      await own.stop();
    }
  });
});
