import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  createMemoryStore,
  type CacheStore,
  VALUE_BYTES_MAX,
} from '../../../datasources/cache-store.ts';
import { cacheReads } from '../../../datasources/cached-reads.ts';
import type { NewChange } from '../../../datasources/change-recorder.ts';
import { NO_RECORDER } from '../../../datasources/change-recorder.ts';
import { createDatasources } from '../../../datasources/datasources.ts';
import { createHeads, HEAD_AGE_MS_MAX, type Heads } from '../../../datasources/heads.ts';
import type { Call } from '../../../datasources/lane.ts';
import {
  type CachedRead,
  createResultCache,
  OPERATION_NAMES_MAX,
  type OperationReads,
  type ResultCache,
} from '../../../datasources/result-cache.ts';
import { createUnitsOfWork } from '../../../datasources/unit-of-work.ts';
import { makeCall } from '../../support/call.ts';
import type { TestClock } from '../../support/clock.ts';
import { createFeedClock, createTestFeed, type TestFeed } from '../../support/feed.ts';
import { addAccount, append, makeChange } from '../../support/log.ts';

let test: TestFeed;
let clock: TestClock;
let accountId: string;
let accounts = 0;
let store: CacheStore;
let node: Node;
/** Unix milliseconds of every node. */
let now: number;

beforeAll(async () => {
  test = await createTestFeed();
});

afterAll(() => test.close());

beforeEach(async () => {
  accounts += 1;
  accountId = `account-${accounts}`;
  await addAccount(test.database, accountId);
  clock = createFeedClock(test.database);
  now = 1_700_000_000_000;
  store = createMemoryStore();
  node = openNode();
});

interface Node {
  readonly heads: Heads;
  readonly cache: ResultCache;
}

/** One of several that share the store. */
function openNode(): Node {
  const feed = test.database.feed;
  const heads = createHeads({ feed, isSoleWriter: false, onReplaced: () => undefined, clock });
  return { heads, cache: createResultCache({ store, heads, nowMs: () => now }) };
}

const change = (entity: string): NewChange => makeChange({ accountId, entity });
const commitElsewhere = (entity: string) => append(test.database, change(entity));

async function commitHere(entity: string, { heads }: Node = node): Promise<void> {
  const units = createUnitsOfWork(test.database, ({ touched }) => heads.committed(touched));
  const request = { call: makeCall(), actor: 'key:me', operationName: 'Own', idempotency: null };
  await units.run(request, async (_datasources, unit) => {
    unit.record(change(entity));
    return { response: null, failure: null, serialize: () => ({ text: '', isShortened: false }) };
  });
}

/** How many changes an account has: what a stale answer would have fewer of. */
async function countChanges(call: Call = makeCall()): Promise<number> {
  const [row] = await test.database.interactive.sql(call)<{ count: number }>`
    /* test.count */
    select count(*)::int as count from changes where account_id = ${accountId}`;
  return row?.count ?? -1;
}

function readOf(changes: Partial<CachedRead> = {}): CachedRead {
  const uses = [{ accountId, entity: 'order' }];
  return { name: 'test.count', args: [accountId], uses, ttlMs: 60_000, ...changes };
}

interface Asked<T> {
  readonly value: T;
  readonly reads: OperationReads;
}

async function ask<T>(
  load: () => Promise<T>,
  changes: Partial<CachedRead> = {},
  { cache }: Node = node,
  call: Call = makeCall(),
): Promise<Asked<T>> {
  const reads = cache.open();
  return { value: await cache.read(reads, call, readOf(changes), load), reads };
}

const count = (changes: Partial<CachedRead> = {}, from: Node = node) =>
  ask(() => countChanges(), changes, from);

/** A load that ends when it is told to. */
function createGate<T>() {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let loads = 0;
  return {
    get loads() {
      return loads;
    },
    load: () => {
      loads += 1;
      return promise;
    },
    resolve,
    reject,
  };
}

/** Until a read has begun to load. */
async function untilLoading(gate: { readonly loads: number }, loads = 1): Promise<void> {
  while (gate.loads < loads) await setImmediate();
}

describe('a result', () => {
  it('is kept from the second time on that it is asked for', async () => {
    const seen = [await count(), await count(), await count()];
    expect(seen.map(({ reads }) => reads.hits)).toEqual([0, 0, 1]);
    expect(seen.map(({ reads }) => reads.misses)).toEqual([1, 1, 0]);
  });

  it('is the same for equal arguments only', async () => {
    await count();
    await count();
    const [same, other, named] = [
      await count({ args: [accountId] }),
      await count({ args: [accountId, 1] }),
      await count({ name: 'test.other' }),
    ];
    expect([same, other, named].map(({ reads }) => reads.hits)).toEqual([1, 0, 0]);
  });

  it('is not given again after an own commit of what it uses, from the moment of that on', async () => {
    await count();
    await count();
    await commitHere('trade');
    expect((await count()).reads.hits).toBe(1);
    await commitHere('order');
    const after = await count();
    expect(after).toMatchObject({ value: 2, reads: { hits: 0 } });
    expect((await count()).value).toBe(2);
  });

  it('is at most 200 ms behind a commit elsewhere', async () => {
    await count();
    await count();
    await commitElsewhere('order');
    clock.advance(HEAD_AGE_MS_MAX);
    expect((await count()).value).toBe(0);
    clock.advance(1);
    expect((await count()).value).toBe(1);
  });

  it('is never older than a seq that was asked for', async () => {
    await count();
    await count();
    await commitElsewhere('order');
    await node.heads.reach(accountId, 1, 1000);
    expect((await count()).value).toBe(1);
  });

  it('is shared by nodes, as long as it is current', async () => {
    const other = openNode();
    await count();
    await count();
    expect((await count({}, other)).reads.hits).toBe(1);
    await commitHere('order', other);
    expect(await count({}, other)).toMatchObject({ value: 1, reads: { hits: 0 } });
    expect((await count({}, other)).value).toBe(1);
    clock.advance(HEAD_AGE_MS_MAX + 1);
    expect(await count()).toMatchObject({ value: 1, reads: { hits: 1 } });
  });

  it('is given for its time at most, even if nothing is written', async () => {
    await count();
    await count();
    now += 59_999;
    expect((await count()).reads.hits).toBe(1);
    now += 1;
    expect((await count()).reads.hits).toBe(0);
  });

  it('is not kept when it is too long, at the bound it is', async () => {
    const textOf = (length: number) => () => Promise.resolve('x'.repeat(length));
    // The text has quotes, and in front of it stands what it rests on.
    for (const length of [VALUE_BYTES_MAX - 200, VALUE_BYTES_MAX]) {
      for (let times = 0; times < 2; times += 1) await ask(textOf(length), { args: [length] });
    }
    const [short, long] = [VALUE_BYTES_MAX - 200, VALUE_BYTES_MAX].map((length) =>
      ask(textOf(length), { args: [length] }),
    );
    expect((await short)?.reads.hits).toBe(1);
    expect((await long)?.reads.hits).toBe(0);
  });

  it('is loaded when something else stands in its place', async () => {
    await count();
    await count();
    const garbage = [
      '',
      'x',
      '\n',
      '[1]\n{}',
      '[9e15,[]]\n7',
      '[9e15,[["a","b","c",1]]]\n{',
      '{}\n1',
    ];
    for (const text of garbage) {
      const get = store.get;
      Object.assign(store, { get: () => text });
      expect(await count()).toMatchObject({ value: 0, reads: { hits: 0 } });
      Object.assign(store, { get });
    }
  });

  it('is not kept for an account that there is not', async () => {
    const uses = [{ accountId: 'nobody', entity: 'order' }];
    for (let times = 0; times < 3; times += 1) {
      expect((await count({ uses })).reads).toMatchObject({ hits: 0, basis: null });
    }
  });
});

describe('a commit while a result is loaded', () => {
  it('makes it one that nobody else gets', async () => {
    await count();
    const gate = createGate<number>();
    const early = ask(gate.load);
    await untilLoading(gate);
    await commitHere('order');
    gate.resolve(0);
    expect((await early).value).toBe(0);
    expect(await count()).toMatchObject({ value: 1, reads: { hits: 0 } });
    expect((await count()).value).toBe(1);
  });

  it('keeps later readers from waiting for it', async () => {
    const gate = createGate<number>();
    const early = ask(gate.load);
    await untilLoading(gate);
    await commitHere('order');
    expect((await count()).value).toBe(1);
    gate.resolve(0);
    await early;
    expect((await count()).value).toBe(1);
  });
});

describe('readers of the same at once', () => {
  it('are one load, whose result is kept', async () => {
    const gate = createGate<number>();
    const asked = Array.from({ length: 20 }, () => ask(gate.load));
    await untilLoading(gate);
    gate.resolve(7);
    const all = await Promise.all(asked);
    expect(all.map(({ value }) => value)).toEqual(Array.from({ length: 20 }, () => 7));
    expect(all.reduce((sum, { reads }) => sum + reads.misses, 0)).toBe(1);
    expect(gate.loads).toBe(1);
    expect(await count()).toMatchObject({ value: 7, reads: { hits: 1 } });
  });

  it('do not fail with the one who loads', async () => {
    const gate = createGate<number>();
    const first = ask(gate.load);
    await untilLoading(gate);
    const others = Array.from({ length: 5 }, () => count());
    await setImmediate();
    gate.reject(new Error('its own fault'));
    await expect(first).rejects.toThrow('its own fault');
    for (const { value } of await Promise.all(others)) expect(value).toBe(0);
  });

  it('do not fail when the client of the one who loads has gone', async () => {
    const gone = new AbortController();
    const blocker = Promise.withResolvers<void>();
    const first = ask(async () => {
      await blocker.promise;
      return countChanges(makeCall({ signal: gone.signal }));
    });
    await setImmediate();
    const other = count();
    await setImmediate();
    gone.abort();
    blocker.resolve();
    await expect(first).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect((await other).value).toBe(0);
  });

  it('wait no longer than their own deadlines', async () => {
    const gate = createGate<number>();
    const first = ask(gate.load);
    await untilLoading(gate);
    const late = ask(gate.load, {}, node, makeCall({ deadlineMs: 20 }));
    await expect(late).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    gate.resolve(7);
    expect((await first).value).toBe(7);
  });
});

describe('what an operation has read', () => {
  it('rests on the oldest of its reads', async () => {
    const reads = node.cache.open();
    const read = (name: string) =>
      node.cache.read(reads, makeCall(), readOf({ name }), () => countChanges());
    await read('test.a');
    await commitHere('order');
    await read('test.b');
    expect(reads.basis).toMatchObject([{ accountId, entity: 'order', seq: 0 }]);
  });

  it('may be given again as long as its shortest read may', async () => {
    const reads = node.cache.open();
    for (const ttlMs of [5000, 1000, 9000]) {
      const read = readOf({ ttlMs, name: `test.${ttlMs}` });
      await node.cache.read(reads, makeCall(), read, () => countChanges());
    }
    expect(reads.expiresAtMs).toBe(now + 1000);
  });

  it('rests on 64 uses at most', async () => {
    const reads = node.cache.open();
    for (let entity = 0; entity < 65; entity += 1) {
      expect(reads.basis).toHaveLength(entity);
      const uses = [{ accountId, entity: `entity-${entity}` }];
      const read = readOf({ uses, name: `test.${entity}` });
      await node.cache.read(reads, makeCall(), read, () => countChanges());
    }
    expect(reads.basis).toBeNull();
  });

  it('is counted by name, and further names together', () => {
    const { cache } = node;
    for (let name = 0; name < OPERATION_NAMES_MAX; name += 1) cache.record(`Name${name}`, 1, 1);
    for (let name = 0; name < 3; name += 1) cache.record(`Further${name}`, 3, 1);
    const { hits, misses, operations } = cache.figures();
    expect({ hits, misses }).toEqual({
      hits: OPERATION_NAMES_MAX + 9,
      misses: OPERATION_NAMES_MAX + 3,
    });
    expect(operations).toHaveLength(OPERATION_NAMES_MAX + 1);
    expect(operations.at(-1)).toEqual({ name: 'other', hits: 9, misses: 3, hitRate: 0.75 });
  });
});

describe('the reads of repositories', () => {
  function open() {
    const reads = node.cache.open();
    const datasources = createDatasources(test.database.interactive.sql(makeCall()), NO_RECORDER);
    return { reads, cached: cacheReads(datasources, node.cache, reads, makeCall()) };
  }

  it('of settings may be kept for an hour, of anything else for five minutes', async () => {
    const { reads, cached } = open();
    await cached.settings.list(accountId, null);
    expect(reads.expiresAtMs).toBe(now + 3_600_000);
    await cached.balances.list(accountId, null);
    expect(reads.expiresAtMs).toBe(now + 300_000);
  });

  it('that depend on more than the log are not kept', async () => {
    const { reads, cached } = open();
    await cached.settings.list(accountId, null);
    expect(reads.basis).toHaveLength(1);
    await cached.exposure.find(accountId, {});
    expect(reads.basis).toBeNull();
  });
});
