import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { renewEpoch } from '../../../datasources/change.ts';
import type { NewChange } from '../../../datasources/change-recorder.ts';
import {
  ANY_ENTITY,
  createHeads,
  HEAD_AGE_MS_MAX,
  type Heads,
} from '../../../datasources/heads.ts';
import { createUnitsOfWork } from '../../../datasources/unit-of-work.ts';
import { AppError } from '../../../errors.ts';
import { makeCall } from '../../support/call.ts';
import type { TestClock } from '../../support/clock.ts';
import { createFeedClock, createTestFeed, type TestFeed } from '../../support/feed.ts';
import { createHeldLane, type HeldLane } from '../../support/held-lane.ts';
import { addAccount, append, makeChange, run } from '../../support/log.ts';

let test: TestFeed;
let clock: TestClock;
let lane: HeldLane;
let accountId: string;
let accounts = 0;
const onReplaced = vi.fn();

beforeAll(async () => {
  test = await createTestFeed();
});

afterAll(() => test.close());

beforeEach(async () => {
  accounts += 1;
  accountId = `account-${accounts}`;
  await addAccount(test.database, accountId);
  clock = createFeedClock(test.database);
  lane = createHeldLane(test.database.feed);
  onReplaced.mockReset();
});

function open(isSoleWriter = false): Heads {
  return createHeads({ feed: lane, isSoleWriter, onReplaced, clock });
}

const change = (entity: string): NewChange => makeChange({ accountId, entity });
const use = (entity: string) => ({ accountId, entity });

/** As another node, or another program, commits: nobody here is told. */
const commitElsewhere = (...entities: readonly string[]) =>
  append(test.database, ...entities.map(change));

/** As this node commits. */
async function commitHere(heads: Heads, ...entities: readonly string[]): Promise<void> {
  const units = createUnitsOfWork(test.database, ({ touched }) => heads.committed(touched));
  const request = { call: makeCall(), actor: 'key:me', operationName: 'Own', idempotency: null };
  await units.run(request, async (_datasources, unit) => {
    for (const entity of entities) unit.record(change(entity));
    return { response: null, failure: null, serialize: () => ({ text: '', isShortened: false }) };
  });
}

async function basisOf(heads: Heads, ...entities: readonly string[]) {
  await heads.refresh([accountId]);
  const basis = heads.basisOf(entities.map(use));
  if (basis === null) throw new Error('the heads are not known');
  return basis;
}

describe('heads', () => {
  it('know nothing before they were looked up', async () => {
    const heads = open();
    expect(heads.basisOf([use('order')])).toBeNull();
    await heads.refresh([accountId]);
    expect(heads.basisOf([use('order')])).toMatchObject([{ accountId, entity: 'order', seq: 0 }]);
  });

  it('tell the last seq of each entity, and of the log', async () => {
    await commitElsewhere('order', 'trade', 'order', 'trade', 'position');
    const basis = await basisOf(open(), 'order', 'trade', 'position', 'mark', ANY_ENTITY);
    expect(basis.map(({ seq }) => seq)).toEqual([3, 4, 5, 0, 5]);
  });

  it('never know an account that there is not', async () => {
    const heads = open();
    await heads.refresh(['nobody']);
    expect(heads.basisOf([{ accountId: 'nobody', entity: 'order' }])).toBeNull();
  });

  it('know the same of own commits as the table', async () => {
    const heads = open();
    await heads.refresh([accountId]);
    await commitHere(heads, 'order', 'trade', 'order', 'position');
    const entities = ['order', 'trade', 'position', ANY_ENTITY];
    expect(heads.basisOf(entities.map(use))).toEqual(await basisOf(open(), ...entities));
  });
});

describe('a basis', () => {
  it('ends with an own commit of its entity, at once', async () => {
    const heads = open();
    const basis = await basisOf(heads, 'order');
    await commitHere(heads, 'trade');
    expect(heads.isCurrent(basis)).toBe(true);
    await commitHere(heads, 'order');
    expect(heads.isCurrent(basis)).toBe(false);
  });

  it('of the whole log ends with any commit', async () => {
    const heads = open();
    const basis = await basisOf(heads, ANY_ENTITY);
    await commitHere(heads, 'trade');
    expect(heads.isCurrent(basis)).toBe(false);
  });

  it('is not vouched for once the look is older than 200 ms, and ends with a commit elsewhere', async () => {
    const heads = open();
    const basis = await basisOf(heads, 'order');
    await commitElsewhere('order');
    clock.advance(HEAD_AGE_MS_MAX);
    expect(heads.isCurrent(basis)).toBe(true);
    clock.advance(1);
    expect(heads.isCurrent(basis)).toBeNull();
    await heads.refresh([accountId]);
    expect(heads.isCurrent(basis)).toBe(false);
  });

  it('ends sooner when somebody says that there is a commit', async () => {
    const heads = open();
    const basis = await basisOf(heads, 'order');
    await commitElsewhere('order');
    heads.wake(accountId, 1);
    expect(heads.isCurrent(basis)).toBeNull();
    await heads.refresh([accountId]);
    expect(heads.isCurrent(basis)).toBe(false);
  });

  it('outlasts a hint that says nothing new', async () => {
    const heads = open();
    await commitHere(heads, 'order');
    const basis = await basisOf(heads, 'order');
    heads.wake(accountId, 1);
    expect(heads.isCurrent(basis)).toBe(true);
  });

  it('ends with its history', async () => {
    const heads = open();
    const [first, ...others] = await basisOf(heads, 'order');
    if (first === undefined) throw new Error('there is one use');
    await renewEpoch(test.database.trading.sql(makeCall()), accountId, first.epoch);
    clock.advance(HEAD_AGE_MS_MAX + 1);
    await heads.refresh([accountId]);
    expect(heads.isCurrent([first, ...others])).toBe(false);
  });
});

describe('the only writer', () => {
  it('looks once and never again', async () => {
    const heads = open(true);
    const basis = await basisOf(heads, 'order');
    clock.advance(3_600_000);
    expect(heads.isCurrent(basis)).toBe(true);
    await heads.refresh([accountId]);
    expect(lane.sent).toBe(1);
    await commitHere(heads, 'order');
    expect(heads.isCurrent(basis)).toBe(false);
  });

  it('that is not sure of a commit looks like any other', async () => {
    const heads = open(true);
    const basis = await basisOf(heads, 'order');
    await commitElsewhere('order');
    heads.distrust();
    clock.advance(HEAD_AGE_MS_MAX + 1);
    expect(heads.isCurrent(basis)).toBeNull();
    await heads.refresh([accountId]);
    expect(heads.isCurrent(basis)).toBe(false);
  });

  it('does not believe a look that began before its first commit', async () => {
    const heads = open(true);
    lane.hold();
    const looked = heads.refresh([accountId]);
    await lane.held(1);
    await commitHere(heads, 'order');
    lane.release();
    await looked;
    expect(heads.basisOf([use('order')])).toBeNull();
    expect(await basisOf(heads, 'order')).toMatchObject([{ seq: 1 }]);
  });

  it('keeps its commit when a look that missed it brings a new epoch', async () => {
    const heads = open(true);
    const [basis] = await basisOf(heads, 'order');
    await renewEpoch(test.database.trading.sql(makeCall()), accountId, basis?.epoch ?? '');
    lane.hold();
    heads.wake(accountId, 1);
    const looked = heads.refresh([accountId]);
    await lane.held(1);
    await commitHere(heads, 'order');
    lane.release();
    await looked;
    expect(await basisOf(heads, 'order')).toMatchObject([{ seq: 1 }]);
  });
});

describe('a look', () => {
  it('is one statement for everyone who waits for it', async () => {
    const heads = open();
    await Promise.all(Array.from({ length: 20 }, () => heads.refresh([accountId, 'main'])));
    expect(lane.sent).toBe(1);
  });

  it('that a commit overtakes takes nothing back', async () => {
    const heads = open();
    const basis = await basisOf(heads, 'order');
    clock.advance(HEAD_AGE_MS_MAX + 1);
    lane.hold();
    const looked = heads.refresh([accountId]);
    await lane.held(1);
    await commitHere(heads, 'order');
    lane.release();
    await looked;
    expect(heads.isCurrent(basis)).toBe(false);
    expect(onReplaced).not.toHaveBeenCalled();
  });

  it('is given up after a quarter of a second', async () => {
    const heads = open();
    lane.hold();
    const looked = heads.refresh([accountId]);
    await lane.held(1);
    clock.advance(250);
    await looked;
    expect(heads.basisOf([use('order')])).toBeNull();
    lane.release();
  });

  it('that fails is not repeated at once, and later it is', async () => {
    const heads = open();
    lane.failWith(new AppError('UNAVAILABLE', 'away'));
    await heads.refresh([accountId]);
    await heads.refresh([accountId]);
    expect(lane.sent).toBe(1);
    lane.failWith(null);
    clock.advance(500);
    await heads.refresh([accountId]);
    expect(heads.basisOf([use('order')])).not.toBeNull();
  });

  it('that finds a log shorter than it was ends this history until it has another name', async () => {
    const heads = open();
    await commitElsewhere('order', 'order');
    const basis = await basisOf(heads, 'order');
    await run(
      test.database,
      (sql) => sql`update account_heads set seq = 1 where account_id = ${accountId}`,
    );
    clock.advance(HEAD_AGE_MS_MAX + 1);
    await heads.refresh([accountId]);
    expect(onReplaced).toHaveBeenLastCalledWith(accountId, basis[0]?.epoch);
    expect(heads.isCurrent(basis)).toBeNull();
    await heads.refresh([accountId]);
    expect(onReplaced).toHaveBeenCalledTimes(2);
    expect(heads.isCurrent(basis)).toBeNull();
    await renewEpoch(test.database.trading.sql(makeCall()), accountId, basis[0]?.epoch ?? '');
    await heads.refresh([accountId]);
    expect(heads.isCurrent(basis)).toBe(false);
  });
});

describe('a seq that is asked for', () => {
  it('is there at once when it is known', async () => {
    const heads = open();
    await heads.refresh([accountId]);
    await commitHere(heads, 'order');
    clock.advance(3_600_000);
    await heads.reach(accountId, 1, 1000);
    expect(lane.sent).toBe(1);
  });

  it('of another node is looked up, however fresh the last look is', async () => {
    const heads = open();
    const basis = await basisOf(heads, 'order');
    await commitElsewhere('order');
    await heads.reach(accountId, 1, 1000);
    expect(heads.isCurrent(basis)).toBe(false);
  });

  it('is waited for while it is ahead of the log', async () => {
    const heads = open();
    const reached = heads.reach(accountId, 2, 1000);
    await commitElsewhere('order', 'order');
    await clock.passUntil(reached);
    expect(heads.basisOf([use('order')])).toMatchObject([{ seq: 2 }]);
  });

  it('is refused with the seq there is when the time is over', async () => {
    await commitElsewhere('order');
    const reached = open().reach(accountId, 9, 1000);
    await expect(clock.passUntil(reached)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      isRetryable: true,
      details: { headSeq: '1' },
    });
    expect(clock.nowMs()).toBeGreaterThanOrEqual(1000);
  });

  it('of an unknown account is refused without waiting', async () => {
    await expect(open().reach('nobody', 1, 1000)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('is refused while the heads cannot be read', async () => {
    lane.failWith(new AppError('UNAVAILABLE', 'away'));
    await expect(open().reach(accountId, 1, 1000)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});
