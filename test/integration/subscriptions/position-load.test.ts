import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  matchesPosition,
  type Position,
  type PositionWhere,
} from '../../../datasources/position.ts';
import { AppError } from '../../../errors.ts';
import type { ChangeFeed } from '../../../subscriptions/change-feed.ts';
import {
  type PositionChangesInput,
  type PositionEvent,
  positionChanges,
} from '../../../subscriptions/position.ts';
import { makeCall } from '../../support/call.ts';
import { createTestFeed, makeContext, type TestFeed } from '../../support/feed.ts';
import { addAccount, commit, run } from '../../support/log.ts';
import { closedOf, makePosition, next } from '../../support/positions.ts';

const WRITERS = 8;
const UNITS = 40;
const ROWS = 12;
const LAST = 'LAST';

let test: TestFeed;
let accounts = 0;
let accountId: string;

beforeAll(async () => {
  test = await createTestFeed();
});

afterAll(() => test.close());

beforeEach(async () => {
  accounts += 1;
  accountId = `load-${accounts}`;
  await addAccount(test.database, accountId);
});

const randomBelow = (max: number) => Math.floor(Math.random() * max);

class Rollback extends Error {}

function isDeadlock(error: unknown): boolean {
  return error instanceof AppError && error.code === 'SERIALIZATION_FAILURE';
}

/** Opens, changes and closes positions in units of up to four; a quarter of them roll back. */
async function write(onCommit: (seq: string) => void): Promise<void> {
  for (let unit = 0; unit < UNITS; unit += 1) {
    try {
      const seqs = await commit(test.database, async ({ positions }) => {
        const cut = { after: null, before: null, isDescending: true, limit: ROWS };
        const open = await positions.list(accountId, { status: ['OPEN'] }, cut);
        const chosen = open.filter(() => randomBelow(4) === 0).map(({ id }) => id);
        const locked = await positions.lock(accountId, chosen, []);
        const updates = locked
          .filter(({ status }) => status === 'OPEN')
          .map((before) => ({ before, next: changed(before) }));
        if (updates.length > 0) await positions.updateMany(accountId, updates);
        const made = makePosition({ accountId, symbol: `S${randomBelow(ROWS)}` });
        await positions.insertMany(accountId, [{ ...made, clientId: null, itemHash: null }]);
        if (randomBelow(4) === 0) throw new Rollback();
      });
      const seq = seqs.get(accountId);
      if (seq !== undefined) onCommit(seq);
    } catch (error) {
      // Units that lock one another's rows may end in a deadlock, which is a rollback, too.
      const isRolledBack = error instanceof Rollback || isDeadlock(error);
      if (!isRolledBack) throw error;
    }
  }
}

function changed(before: Position): Position {
  return randomBelow(3) === 0
    ? closedOf(before)
    : next(before, { quantity: `${1 + randomBelow(9)}` });
}

interface Reading {
  readonly events: readonly PositionEvent[];
  /** What a client would have that kept it up to date. */
  readonly rows: ReadonlyMap<string, Position>;
}

/** Reads until the last change of all, as a client does that checks every rule of the contract. */
async function follow(feed: ChangeFeed, input: PositionChangesInput): Promise<Reading> {
  const stream = positionChanges(makeContext(test.database, feed), {
    account: accountId,
    ...input,
  });
  const events: PositionEvent[] = [];
  const rows = new Map<string, Position>();
  let lastSeq = input.after ? Number(input.after.split('.')[1]) : -1;
  let isEnd = false;
  for await (const event of stream) {
    if (event.kind === 'HEARTBEAT') continue;
    if (event.kind === 'RESET') throw new Error(`reset at ${lastSeq}`);
    const seq = Number(event.seq);
    if (event.previousSeq !== null && Number(event.previousSeq) > lastSeq) {
      throw new Error(`${event.previousSeq} was missed between ${lastSeq} and ${seq}`);
    }
    if (seq < lastSeq) throw new Error(`${seq} after ${lastSeq}`);
    lastSeq = seq;
    events.push(event);
    apply(rows, event);
    // A snapshot may be so late that the last change is in it.
    isEnd ||= event.position?.symbol === LAST;
    if (isEnd && event.kind !== 'SNAPSHOT') return { events, rows };
  }
  throw new Error('the stream has ended');
}

function apply(rows: Map<string, Position>, event: PositionEvent): void {
  const { kind, position, fromSeq } = event;
  if (position === null) return;
  const known = rows.get(position.id);
  const isOfOneChange = kind === 'CHANGE' && fromSeq === null;
  if (isOfOneChange && known !== undefined && known.version !== position.version - 1) {
    throw new Error(`version ${position.version} after ${known.version}`);
  }
  if (kind === 'LEFT') rows.delete(position.id);
  else rows.set(position.id, position);
}

async function readTable(where: PositionWhere): Promise<ReadonlyMap<string, Position>> {
  const { positions } = makeContext(test.database, test.openFeed()).datasources;
  const cut = { after: null, before: null, isDescending: false, limit: 10_000 };
  const rows = await positions.list(accountId, where, cut);
  return new Map(rows.map((row) => [row.id, row]));
}

/** Everything the log says of positions, in order. */
async function readLog(): Promise<readonly { seq: string; id: string }[]> {
  return run(
    test.database,
    (sql) => sql<{ seq: string; id: string }>`
      select seq, ids[1] as id from changes where account_id = ${accountId} order by seq`,
  );
}

const OPEN: PositionWhere = { status: ['OPEN'] };
const SOME: PositionWhere = { symbols: ['S1', 'S2', 'S3', LAST] };

describe.each([
  { name: 'from the ring, woken', ringLengthMax: 4096, isWoken: true },
  { name: 'mostly from the table, by polls alone', ringLengthMax: 4, isWoken: false },
])('eight writers with rollbacks, followed $name', ({ ringLengthMax, isWoken }) => {
  let feed: ChangeFeed;

  beforeEach(() => {
    feed = test.openFeed({ ringLengthMax, pollMs: 5 });
  });

  afterEach(() => feed.close());

  it('every reader ends with the rows of the table and has missed nothing', async () => {
    const { epoch } = await makeContext(test.database, feed).datasources.changes.getHead(accountId);
    const readers: { input: PositionChangesInput; reading: Promise<Reading> }[] = [];
    const begin = (input: PositionChangesInput) => {
      const reading = follow(feed, input);
      // Awaited at the end; a failure before that is told then.
      reading.catch(() => {});
      readers.push({ input, reading });
    };
    begin({ after: `${epoch}.0` });
    begin({ after: `${epoch}.0`, where: OPEN });
    begin({ after: `${epoch}.0`, where: SOME, minIntervalMs: 20 });
    let commits = 0;
    const onCommit = (seq: string) => {
      if (isWoken) feed.wake(accountId, seq);
      commits += 1;
      // Readers come while others write: some with a snapshot, some with what they have seen.
      if (commits % 20 !== 0) return;
      begin({ snapshot: true });
      begin({ snapshot: true, where: OPEN });
      begin({ after: `${epoch}.${randomBelow(Number(seq))}` });
    };
    await Promise.all(Array.from({ length: WRITERS }, () => write(onCommit)));
    await commit(test.database, async ({ positions }) => {
      const last = makePosition({ accountId, symbol: LAST });
      await positions.insertMany(accountId, [{ ...last, clientId: null, itemHash: null }]);
    });

    const log = await readLog();
    expect(log.map(({ seq }) => Number(seq))).toEqual(log.map((_row, index) => index + 1));
    for (const { input, ...reader } of readers) {
      const reading = await reader.reading;
      const where = input.where ?? {};
      const expected = await readTable(where);
      const isWhole = input.snapshot === true || input.after === `${epoch}.0`;
      if (isWhole)
        expect(withoutMoments(reading.rows, where)).toEqual(withoutMoments(expected, {}));
      if (input.where !== undefined || input.minIntervalMs !== undefined) continue;
      const seqs = reading.events
        .filter(({ kind }) => kind === 'CHANGE')
        .map(({ seq }) => Number(seq));
      const begun = log.length - seqs.length;
      expect(seqs).toEqual(log.slice(begun).map(({ seq }) => Number(seq)));
      const after = input.after ? Number(input.after.split('.')[1]) : snapshotSeq(reading);
      expect(begun).toBe(after);
    }
    expect(feed.figures().subscriptions).toBe(0);
  });
});

function snapshotSeq({ events }: Reading): number {
  return Number(events.find(({ kind }) => kind === 'CAUGHT_UP')?.seq);
}

/** Rows by id; a row that a conflated reader was told of though it never matched is left out. */
function withoutMoments(rows: ReadonlyMap<string, Position>, where: PositionWhere) {
  const rest = [...rows].filter(([, row]) => matchesPosition(where, row)).sort();
  // Rows of a snapshot have the mark of their moment with them; nothing is marked here.
  return new Map(rest.map(([id, row]) => [id, { markPrice: null, ...row }]));
}

it('loses nothing while the connections of readers and of the feed are killed', async () => {
  const feed = test.openFeed({ ringLengthMax: 4 });
  const { epoch } = await makeContext(test.database, feed).datasources.changes.getHead(accountId);
  const readers = Promise.all([
    follow(feed, { after: `${epoch}.0` }),
    follow(feed, { after: `${epoch}.0`, where: OPEN }),
  ]);
  let commits = 0;
  const kills: Promise<unknown>[] = [];
  const onCommit = () => {
    commits += 1;
    if (commits % 8 === 0) kills.push(kill());
  };
  await Promise.all(Array.from({ length: WRITERS }, () => write(onCommit)));
  await commit(test.database, async ({ positions }) => {
    const last = makePosition({ accountId, symbol: LAST });
    await positions.insertMany(accountId, [{ ...last, clientId: null, itemHash: null }]);
  });
  await Promise.all(kills);
  const [all, open] = await readers;
  const log = await readLog();
  const seqs = all.events.filter(({ kind }) => kind === 'CHANGE').map(({ seq }) => seq);
  expect(seqs).toEqual(log.map(({ seq }) => seq));
  expect(new Map([...open.rows].sort())).toEqual(new Map([...(await readTable(OPEN))].sort()));
});

function kill(): Promise<unknown> {
  return run(
    test.database,
    (sql) => sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database()
        and application_name in ('tradewind feed', 'tradewind interactive')`,
  );
}

it('shares what is read among many readers', async () => {
  const feed = test.openFeed({ pollMs: 5 });
  const calls = () => test.database.statistics.snapshot().totals.calls;
  const streams = Array.from({ length: 200 }, () =>
    positionChanges(makeContext(test.database, feed, { call: makeCall() }), { account: accountId }),
  );
  await Promise.all(streams.map((stream) => stream.next()));
  const before = calls();
  const pending = streams.map((stream) => stream.next());
  await commit(test.database, async ({ positions }) => {
    const last = makePosition({ accountId });
    await positions.insertMany(accountId, [{ ...last, clientId: null, itemHash: null }]);
  });
  const events = await Promise.all(pending);
  expect(new Set(events.map(({ value }) => value?.seq))).toEqual(new Set(['1']));
  expect(feed.figures().subscriptions).toBe(200);
  // The write, the polls meanwhile and one read; never one a reader.
  expect(calls() - before).toBeLessThan(100);
  await Promise.all(streams.map((stream) => stream.return()));
  expect(feed.figures().subscriptions).toBe(0);
});
