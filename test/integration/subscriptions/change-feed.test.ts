import { setImmediate } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Cursor, Place } from '../../../datasources/cursor.ts';
import { type ChangeFeed, READ_BYTES_MAX, type Watch } from '../../../subscriptions/change-feed.ts';
import { READ_CHANGES_MAX } from '../../../subscriptions/follower.ts';
import type { TestClock } from '../../support/clock.ts';
import { createFeedClock, createTestFeed, type TestFeed } from '../../support/feed.ts';
import { addAccount, append, makeChange, run } from '../../support/log.ts';

let test: TestFeed;
let clock: TestClock;
let feed: ChangeFeed;
let accounts = 0;
let accountId: string;

beforeAll(async () => {
  test = await createTestFeed();
});

afterAll(() => test.close());

beforeEach(async () => {
  accounts += 1;
  accountId = `account-${accounts}`;
  await addAccount(test.database, accountId);
  clock = createFeedClock(test.database);
  feed = test.openFeed({ clock, ringLengthMax: 8 });
});

afterEach(() => feed.close());

const { signal } = new AbortController();
const READER = { requestId: 'test', operationName: null, signal };

const appendThings = (count: number, changes: Parameters<typeof makeChange>[0] = {}) =>
  append(
    test.database,
    ...Array.from({ length: count }, () => makeChange({ accountId, ...changes })),
  );

function head(watch: Watch): Promise<Cursor> {
  return clock.passUntil(watch.head({}));
}

/** Everything after a place up to a seq, by as many reads as it takes. */
async function readTo(watch: Watch, place: Place, seq: number): Promise<readonly number[]> {
  const seqs: number[] = [];
  for (let at: Place = place; at.seq < seq; ) {
    const changes = await clock.passUntil(watch.read(at, READER));
    if (changes === null) throw new Error(`lost at ${at.seq}`);
    seqs.push(...changes.map((change) => Number(change.seq)));
    at = { epoch: at.epoch, seq: seqs.at(-1) ?? at.seq };
    if (changes.length === 0) await clock.passUntil(watch.wait(at, {}));
  }
  return seqs;
}

function calls(name: string): number {
  const { statements } = test.database.statistics.snapshot();
  return statements.find((statement) => statement.name === name)?.calls ?? 0;
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_seq, index) => first + index);
}

describe('a watch', () => {
  it('knows the head and its epoch', async () => {
    await appendThings(3);
    const place = await head(feed.watch(accountId));
    expect(place).toEqual({
      epoch: expect.stringMatching(/^[0-9a-f]{8}$/),
      seq: 3,
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  it('says when there is no such account', async () => {
    const watch = feed.watch('nobody');
    await expect(head(watch)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('gives each change once, in order, from the ring and before that from the table', async () => {
    await appendThings(20);
    const watch = feed.watch(accountId);
    const { epoch } = await head(watch);
    await appendThings(5);
    feed.wake(accountId, '25');
    await watch.wait({ epoch, seq: 24 }, {});
    expect(await readTo(watch, { epoch, seq: 0 }, 25)).toEqual(range(1, 25));
    const before = calls('changes.readAfter');
    expect(await readTo(watch, { epoch, seq: 20 }, 25)).toEqual(range(21, 25));
    expect(calls('changes.readAfter')).toBe(before);
  });

  it('finds by its poll what nobody told of', async () => {
    const watch = feed.watch(accountId);
    const place = await head(watch);
    await appendThings(1);
    await clock.passUntil(watch.wait(place, {}));
    expect(await watch.read(place, READER)).toMatchObject([{ seq: '1' }]);
  });

  it('finds at once what it is told of, with no time passing', async () => {
    const watch = feed.watch(accountId);
    const place = await head(watch);
    await appendThings(2);
    feed.wake(accountId, '2');
    await watch.wait(place, {});
    expect(await watch.read(place, READER)).toMatchObject([{ seq: '1' }, { seq: '2' }]);
  });

  it('is not misled by a hint of what is not there', async () => {
    const watch = feed.watch(accountId);
    const place = await head(watch);
    feed.wake(accountId, '9000000000000000000');
    await appendThings(1);
    await clock.passUntil(watch.wait(place, {}));
    expect(await readTo(watch, place, 1)).toEqual([1]);
  });

  it('reads at most so many changes at once', async () => {
    await appendThings(READ_CHANGES_MAX + 1);
    const watch = feed.watch(accountId);
    const { epoch } = await head(watch);
    const changes = await watch.read({ epoch, seq: 0 }, READER);
    expect(changes).toHaveLength(READ_CHANGES_MAX);
    const rest = await watch.read({ epoch, seq: READ_CHANGES_MAX }, READER);
    expect(rest).toHaveLength(1);
  });

  it('reads at most so many bytes at once, but always one change', async () => {
    const text = 'x'.repeat(READ_BYTES_MAX);
    await appendThings(3, { after: { text } });
    const watch = feed.watch(accountId);
    const { epoch } = await head(watch);
    expect(await watch.read({ epoch, seq: 0 }, READER)).toHaveLength(1);
    expect(await readTo(watch, { epoch, seq: 0 }, 3)).toEqual([1, 2, 3]);
  });
});

describe('a place', () => {
  it('of another epoch, or ahead of the head, is lost', async () => {
    await appendThings(3);
    const watch = feed.watch(accountId);
    const { epoch } = await head(watch);
    const read = (place: Place) => clock.passUntil(watch.read(place, READER));
    expect(await read({ epoch: 'ffffffff', seq: 3 })).toBeNull();
    expect(await read({ epoch, seq: 4 })).toBeNull();
    expect(await read({ epoch, seq: 3 })).toEqual([]);
  });

  it('whose next change was deleted is lost, the one after it is not', async () => {
    await appendThings(20);
    await run(
      test.database,
      (sql) => sql`delete from changes where account_id = ${accountId} and seq <= 10`,
    );
    const watch = feed.watch(accountId);
    const { epoch } = await head(watch);
    expect(await watch.read({ epoch, seq: 9 }, READER)).toBeNull();
    expect(await readTo(watch, { epoch, seq: 10 }, 20)).toEqual(range(11, 20));
  });

  it('is never led over a hole', async () => {
    await appendThings(6);
    const watch = feed.watch(accountId);
    const { epoch } = await head(watch);
    await run(
      test.database,
      (sql) => sql`delete from changes where account_id = ${accountId} and seq = 4`,
    );
    expect(await readTo(watch, { epoch, seq: 1 }, 3)).toEqual([2, 3]);
    expect(await watch.read({ epoch, seq: 3 }, READER)).toBeNull();
  });

  it('of before a restore is lost, though the epoch is still the same', async () => {
    await appendThings(9);
    const watch = feed.watch(accountId);
    const place = await head(watch);
    await run(
      test.database,
      (sql) => sql`
        with gone as (delete from changes where account_id = ${accountId} and seq > 4)
        update account_heads set seq = 4 where account_id = ${accountId}`,
    );
    await clock.passUntil(watch.wait(place, {}));
    expect(await clock.passUntil(watch.read(place, READER))).toBeNull();
  });

  it('of before a restore is lost, though the seqs have grown past it again', async () => {
    await appendThings(9);
    const watch = feed.watch(accountId);
    const place = await head(watch);
    await run(
      test.database,
      (sql) => sql`
        with gone as (delete from changes where account_id = ${accountId} and seq > 4)
        update account_heads h set seq = 4, hash = c.hash from changes c
        where h.account_id = ${accountId} and c.account_id = h.account_id and c.seq = 4`,
    );
    await appendThings(8, { after: { name: 'another' } });
    await clock.passUntil(watch.wait(place, {}));
    expect(await clock.passUntil(watch.read(place, READER))).toBeNull();
    // Clients that resume elsewhere know it by the name of the history.
    const renewed = await head(watch);
    expect(renewed.seq).toBe(12);
    expect(renewed.epoch).not.toBe(place.epoch);
    expect(await readTo(watch, { ...renewed, seq: 0 }, 12)).toEqual(range(1, 12));
  });

  it('of before a restore is lost, though the seqs are the same again', async () => {
    await appendThings(3);
    const watch = feed.watch(accountId);
    const place = await head(watch);
    await run(
      test.database,
      (sql) => sql`
        with gone as (delete from changes where account_id = ${accountId})
        update account_heads set seq = 0, hash = '' where account_id = ${accountId}`,
    );
    await appendThings(3, { after: { name: 'another' } });
    await clock.passUntil(watch.wait(place, {}));
    expect(await clock.passUntil(watch.read(place, READER))).toBeNull();
  });

  it('read elsewhere may be ahead of the last poll', async () => {
    const watch = feed.watch(accountId);
    const { epoch } = await head(watch);
    await appendThings(3);
    expect(await clock.passUntil(watch.read({ epoch, seq: 3 }, READER))).toEqual([]);
  });
});

describe('the process', () => {
  it('polls all watched accounts in one statement', async () => {
    const other = `${accountId}-too`;
    await addAccount(test.database, other);
    const [one, two] = [feed.watch(accountId), feed.watch(other)];
    await head(one);
    await head(two);
    const before = calls('changes.readHeads');
    clock.advance(100);
    await Promise.all([appendThings(1), append(test.database, makeChange({ accountId: other }))]);
    await until(() => calls('changes.readHeads') > before);
    await until(() => feed.figures().isConnected && clock.timers === 1);
    expect(calls('changes.readHeads')).toBe(before + 1);
  });

  it('reads each change once for all who watch', async () => {
    const watches = Array.from({ length: 10 }, () => feed.watch(accountId));
    const places = await Promise.all(watches.map((watch) => head(watch)));
    const before = calls('changes.readAfter');
    await appendThings(3);
    feed.wake(accountId, '3');
    await Promise.all(
      watches.map(async (watch, index) => {
        const place = places[index] as Cursor;
        await watch.wait(place, {});
        expect(await watch.read(place, READER)).toHaveLength(3);
      }),
    );
    expect(calls('changes.readAfter')).toBe(before + 1);
    expect(feed.figures()).toMatchObject({ subscriptions: 10, accounts: 1, changes: 3 });
  });

  it('rests when nobody watches, and begins again', async () => {
    const first = feed.watch(accountId);
    const second = feed.watch(accountId);
    await head(first);
    first.release();
    first.release();
    expect(feed.figures()).toMatchObject({ subscriptions: 1, accounts: 1 });
    second.release();
    await until(() => clock.timers === 0);
    const before = calls('changes.readHeads');
    clock.advance(10_000);
    await setImmediate();
    expect(calls('changes.readHeads')).toBe(before);
    expect(feed.figures()).toMatchObject({ subscriptions: 0, accounts: 0, changes: 0, bytes: 0 });
    await appendThings(1);
    expect(await head(feed.watch(accountId))).toMatchObject({ seq: 1 });
  });

  it('skips what would leave the ring at once', async () => {
    const watch = feed.watch(accountId);
    const { epoch } = await head(watch);
    await appendThings(2000);
    const before = calls('changes.readAfter');
    feed.wake(accountId, '2000');
    await watch.wait({ epoch, seq: 1999 }, {});
    expect(calls('changes.readAfter')).toBe(before + 1);
    expect(feed.figures().changes).toBe(8);
    expect(await readTo(watch, { epoch, seq: 0 }, 2000)).toEqual(range(1, 2000));
  });

  it('reads once for a crowd that returns to one place', async () => {
    await appendThings(50);
    const watch = feed.watch(accountId);
    const { epoch } = await head(watch);
    const before = calls('changes.readAfter');
    const reads = range(1, 100).map(() => watch.read({ epoch, seq: 0 }, READER));
    for (const changes of await Promise.all(reads)) expect(changes).toHaveLength(50);
    expect(calls('changes.readAfter')).toBe(before + 1);
  });

  it('goes on reading for the others when one of a crowd has left', async () => {
    await appendThings(20);
    const watch = feed.watch(accountId);
    const { epoch } = await head(watch);
    const leaving = new AbortController();
    const left = watch.read({ epoch, seq: 0 }, { ...READER, signal: leaving.signal });
    const others = watch.read({ epoch, seq: 0 }, READER);
    leaving.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    expect(await others).toHaveLength(20);
  });

  it('divides its memory among the accounts', async () => {
    const other = `${accountId}-too`;
    await addAccount(test.database, other);
    const small = test.openFeed({ clock, ringsBytesMax: 20_000 });
    const watch = small.watch(accountId);
    const place = await head(watch);
    await appendThings(20, { after: { text: 'x'.repeat(500) } });
    await clock.passUntil(watch.wait({ ...place, seq: 19 }, {}));
    const alone = small.figures().bytes;
    expect(alone).toBeGreaterThan(10_000);
    expect(alone).toBeLessThanOrEqual(20_000);
    small.watch(other);
    expect(small.figures().bytes).toBeLessThanOrEqual(10_000);
  });

  it('lets four catch up at once', async () => {
    const ends: (() => void)[] = [];
    const work = () => new Promise<void>((resolve) => ends.push(resolve));
    const all = range(1, 6).map(() => feed.catchUp(READER, work));
    await until(() => ends.length === 4);
    await setImmediate();
    expect(ends).toHaveLength(4);
    ends[0]?.();
    await until(() => ends.length === 5);
    ends[1]?.();
    await until(() => ends.length === 6);
    for (const end of ends) end();
    await Promise.all(all);
  });

  it('ends those who wait when it is closed', async () => {
    const watch = feed.watch(accountId);
    const place = await head(watch);
    const waiting = expect(watch.wait(place, {})).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await feed.close();
    await waiting;
    await expect(watch.head({})).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(clock.timers).toBe(0);
  });
});

describe('a feed whose database goes away', () => {
  it('loses nothing when its connection is killed again and again', async () => {
    const watch = feed.watch(accountId);
    const place = await head(watch);
    const writing = (async () => {
      for (let count = 0; count < 40; count += 1) {
        await appendThings(1);
        if (count % 4 === 0) await killFeed();
      }
    })();
    const seqs = await readTo(watch, place, 40);
    await writing;
    expect(seqs).toEqual(range(1, 40));
  });

  it('says so to who begins, and lets who has begun wait', async () => {
    const watch = feed.watch(accountId);
    const place = await head(watch);
    await run(test.database, (sql) => sql`alter table account_heads rename to account_heads_gone`);
    const waiting = watch.wait(place, {});
    await expect(clock.passUntil(watch.head({ timeMs: 1000 }))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    expect(feed.figures().isConnected).toBe(false);
    expect(watch.isFresh(100)).toBe(false);
    await run(test.database, (sql) => sql`alter table account_heads_gone rename to account_heads`);
    await appendThings(1);
    await clock.passUntil(waiting);
    expect(await readTo(watch, place, 1)).toEqual([1]);
    expect(feed.figures().isConnected).toBe(true);
  });
});

async function killFeed(): Promise<void> {
  await run(
    test.database,
    (sql) => sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'tradewind feed'`,
  );
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setImmediate();
}
