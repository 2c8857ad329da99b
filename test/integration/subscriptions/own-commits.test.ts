import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CommittedLog } from '../../../datasources/append.ts';
import { readAfter } from '../../../datasources/change.ts';
import type { NewChange } from '../../../datasources/change-recorder.ts';
import { type Committed, createUnitsOfWork } from '../../../datasources/unit-of-work.ts';
import type { ChangeFeed } from '../../../subscriptions/change-feed.ts';
import { makeCall } from '../../support/call.ts';
import type { TestClock } from '../../support/clock.ts';
import { createFeedClock, createTestFeed, type TestFeed } from '../../support/feed.ts';
import { addAccount, makeChange } from '../../support/log.ts';

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
  feed = test.openFeed({ clock });
});

afterEach(() => feed.close());

const { signal } = new AbortController();
const READER = { requestId: 'test', operationName: null, signal };

/** Commits these changes in one unit of work, and gives what it says of them. */
async function commit(...changes: readonly NewChange[]): Promise<Committed> {
  const told: Committed[] = [];
  const units = createUnitsOfWork(test.database, (committed) => {
    told.push(committed);
  });
  const request = { call: makeCall(), actor: 'key:me', operationName: 'Own', idempotency: null };
  await units.run(request, async (_datasources, unit) => {
    for (const change of changes) unit.record(change);
    return { response: null, failure: null, serialize: () => ({ text: '', isShortened: false }) };
  });
  const [committed] = told;
  if (committed === undefined) throw new Error('nothing was told');
  return committed;
}

const makeOwn = (changes: Partial<NewChange> = {}) => makeChange({ accountId, ...changes });

async function commitOne(changes: Partial<NewChange> = {}): Promise<CommittedLog> {
  const [log] = (await commit(makeOwn(changes))).logs;
  if (log === undefined) throw new Error('the log was not told');
  return log;
}

async function inTable(account = accountId) {
  return [...(await readAfter(test.database.interactive.sql(makeCall()), account, '0', 1000))];
}

function reads(): number {
  const { statements } = test.database.statistics.snapshot();
  return statements.find(({ name }) => name === 'changes.readAfter')?.calls ?? 0;
}

describe('what a unit of work says it has committed', () => {
  it('is what the table has, whatever stands in the change', async () => {
    const nested = { text: '"ü\\ ', list: [1, null, { deep: [0.1, 1e-18, -0] }], left: undefined };
    const { logs } = await commit(
      makeOwn({ operation: 'UPDATE', before: { a: null }, after: { zebra: '1.50', b: nested } }),
      makeOwn({ operation: 'DELETE', before: { a: [] } }),
      makeOwn({ operation: 'MARK', ids: [], count: 7, after: { large: 1e30 } }),
    );
    expect(logs.map(({ previousHash }) => previousHash)).toEqual(['']);
    expect(logs[0]?.changes()).toEqual(await inTable());
  });

  it('goes on from the hash of the change before', async () => {
    const first = await commitOne();
    const second = await commitOne();
    expect(second.previousHash).toBe(first.changes()[0]?.hash);
    expect([...first.changes(), ...second.changes()]).toEqual(await inTable());
  });

  it('is each account for itself, in the order of its seqs', async () => {
    const other = `${accountId}-other`;
    await addAccount(test.database, other);
    const { logs } = await commit(
      makeOwn({ ids: ['1'] }),
      makeChange({ accountId: other, ids: ['2'] }),
      makeOwn({ ids: ['3'] }),
    );
    expect(logs.map((log) => log.accountId).sort()).toEqual([accountId, other]);
    for (const log of logs) expect(log.changes()).toEqual(await inTable(log.accountId));
  });

  it('is left to be read where there is more than 32 of it', async () => {
    const thirtyTwo = Array.from({ length: 32 }, () => makeOwn());
    expect((await commit(...thirtyTwo)).logs[0]?.changes()).toHaveLength(32);
    const { logs, commits } = await commit(...thirtyTwo, makeOwn());
    expect({ logs, commits }).toEqual({ logs: [], commits: [{ account: accountId, seq: '65' }] });
  });
});

describe('a feed that is handed what was committed', () => {
  async function watch() {
    const opened = feed.watch(accountId);
    const place = await clock.passUntil(opened.head({}));
    return { watch: opened, place };
  }

  it('reads nothing when it follows what it holds', async () => {
    const { watch: opened, place } = await watch();
    const before = reads();
    feed.take(await commitOne());
    feed.take(await commitOne());
    expect(await opened.read(place, READER)).toMatchObject([{ seq: '1' }, { seq: '2' }]);
    expect(reads()).toBe(before);
  });

  it('wakes who waits, with no time passing', async () => {
    const { watch: opened, place } = await watch();
    const waited = opened.wait(place, {});
    feed.take(await commitOne());
    await waited;
    expect(await opened.read(place, READER)).toHaveLength(1);
  });

  it('leaves alone what does not follow, and reads it when told of it', async () => {
    const { watch: opened, place } = await watch();
    const first = await commitOne();
    const second = await commitOne();
    feed.take(second);
    expect(await opened.read(place, READER)).toEqual([]);
    feed.wake(accountId, '2');
    await clock.passUntil(opened.wait(place, {}));
    // Too late: it was read.
    feed.take(first);
    feed.take(second);
    expect(await opened.read(place, READER)).toEqual(await inTable());
  });

  it('leaves alone what follows another hash than its own', async () => {
    const { watch: opened, place } = await watch();
    feed.take(await commitOne());
    const second = await commitOne();
    feed.take({ ...second, previousHash: 'ff'.repeat(32) });
    expect(await opened.read(place, READER)).toHaveLength(1);
    feed.take(second);
    expect(await opened.read(place, READER)).toHaveLength(2);
  });

  it('holds nothing for an account that nobody watches', async () => {
    feed.take(await commitOne());
    expect(feed.figures()).toMatchObject({ accounts: 0, changes: 0 });
  });

  it('is not misled by a poll that began before', async () => {
    const { watch: opened, place } = await watch();
    // The poll is sent in this step, and its answer comes after the commits.
    const polled = opened.head({});
    const logs = [await commitOne(), await commitOne()];
    for (const log of logs) feed.take(log);
    await clock.passUntil(polled);
    feed.wake(accountId, '2');
    const { epoch } = await clock.passUntil(opened.head({}));
    expect(epoch).toBe(place.epoch);
    await clock.passUntil(opened.wait(place, {}));
    expect(await opened.read(place, READER)).toEqual(await inTable());
  });
});
