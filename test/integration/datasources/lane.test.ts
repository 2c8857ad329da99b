import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  createDatabase,
  type Database,
  type DatabaseOptions,
} from '../../../datasources/database.ts';
import type { Lane, Session } from '../../../datasources/lane.ts';
import { requestRetries } from '../../../datasources/resilience.ts';
import { DatabaseError } from '../../../datasources/postgres.ts';
import { AppError } from '../../../errors.ts';
import { makeCall } from '../../support/call.ts';
import { type Chaos, createChaos } from '../../support/chaos.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

const SLOTS = { trading: 2, interactive: 1, analytics: 1, feed: 1 };

let testDatabase: TestDatabase;
let chaos: Chaos;
let database: Database;
let lane: Lane;
const warnings: object[] = [];
const opened: Database[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase({ migrated: false });
  const setup = open({});
  await setup.interactive.sql(makeCall())`create table facts (id int primary key)`;
});

afterAll(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close()));
  await testDatabase.drop();
});

beforeEach(async () => {
  warnings.length = 0;
  chaos = await createChaos(testDatabase.target.socketPath ?? '');
  database = open({ target: { ...testDatabase.target, socketPath: chaos.socketPath } });
  lane = database.interactive;
  await lane.sql(makeCall())`truncate facts`;
});

afterEach(async () => {
  chaos.thaw();
  await Promise.all(opened.splice(0).map((each) => each.close()));
  await chaos.close();
});

function open(options: Partial<DatabaseOptions>): Database {
  const log = { warn: (fields: object) => warnings.push(fields) };
  const created = createDatabase({ target: testDatabase.target, slots: SLOTS, log, ...options });
  opened.push(created);
  return created;
}

const first = <Row>(rows: readonly Row[]): Row | undefined => rows[0];

const sqlStateOf = (error: AppError) => error instanceof DatabaseError && error.sqlState;

const pidIn = async (session: Session): Promise<number> => {
  const [row] = await session.sql<{ pid: number }>`select pg_backend_pid() as pid`;
  return row?.pid ?? 0;
};

const failureOf = async (work: PromiseLike<unknown>): Promise<AppError> => {
  const error = await Promise.resolve(work).then(
    () => new Error('it did not fail'),
    (failure: unknown) => failure,
  );
  if (!(error instanceof AppError)) throw error;
  return error;
};

/** Holds a slot until told to let go; resolves when it is held. */
async function hold(from: Lane = lane): Promise<{ release(): Promise<void> }> {
  const held = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  const session = from.withSession(makeCall(), async () => {
    held.resolve();
    await over.promise;
  });
  await held.promise;
  return {
    async release() {
      over.resolve();
      await session;
    },
  };
}

describe('sql', () => {
  it('runs a read again after its connection was lost', async () => {
    const before = requestRetries.figures().retries;
    const cut = chaos.cutAt('lane.again', 'after');
    const rows = await lane.sql(makeCall())`/* lane.again */ select 1 as one`;
    await cut;
    expect(rows[0]).toEqual({ one: 1 });
    expect(requestRetries.figures().retries).toBe(before + 1);
  });

  it('does not run a statement again that the database refused', async () => {
    const before = requestRetries.figures().retries;
    const error = await failureOf(lane.sql(makeCall())`select 1 / 0`);
    expect(error.code).toBe('BAD_INPUT');
    expect(requestRetries.figures().retries).toBe(before);
  });

  it('keeps its connection between statements', async () => {
    const pids = new Set<unknown>();
    for (let count = 0; count < 3; count += 1) {
      const [row] = await lane.sql(makeCall())`select pg_backend_pid() as pid`;
      pids.add(row?.pid);
    }
    expect(pids.size).toBe(1);
  });

  it('counts each statement by its name, and keeps the slow ones without parameters', async () => {
    const sql = lane.sql(makeCall({ requestId: 'slow one', operationName: 'Slow' }));
    await sql`/* lane.count */ select generate_series(1, ${3}::int)`;
    await sql`/* lane.slow */ select pg_sleep(${0.11})`;
    await failureOf(sql`/* lane.refused */ select 1 / ${0}::int`);
    const { statements, slow } = database.statistics.snapshot();
    const find = (name: string) => statements.find((statement) => statement.name === name);
    expect(find('lane.count')).toMatchObject({ calls: 1, errors: 0, rows: 3 });
    expect(find('lane.refused')).toMatchObject({ calls: 1, errors: 1, rows: 0 });
    const slowOne = { lane: 'interactive', requestId: 'slow one', operationName: 'Slow' };
    expect(slow).toContainEqual(expect.objectContaining({ name: 'lane.slow', ...slowOne }));
    expect(warnings).toContainEqual(
      expect.objectContaining({ statement: 'lane.slow', requestId: 'slow one' }),
    );
    expect(JSON.stringify(warnings)).not.toContain('0.11');
  });
});

describe('a session', () => {
  it('holds one connection, and gives it back as it was', async () => {
    const pids = await lane.withSession(makeCall(), async (session) => {
      expect(await session.command('begin')).toBe('BEGIN');
      const first = await pidIn(session);
      await session.sql`insert into facts values (1)`;
      const second = await pidIn(session);
      expect(await session.command('commit')).toBe('COMMIT');
      return [first, second];
    });
    const after = await lane.withSession(makeCall(), pidIn);
    expect(new Set([...pids, after]).size).toBe(1);
  });

  it('runs statements that were started together one after the other', async () => {
    await lane.withSession(makeCall(), async (session) => {
      const results = await Promise.all([
        session.sql`select pg_sleep(0.02), 1 as n`,
        session.sql`select 2 as n`,
        session.sql`select 3 as n`,
      ]);
      expect(results.map(([row]) => row?.n)).toEqual([1, 2, 3]);
    });
  });

  it('tells what was sent behind a failed statement why it failed', async () => {
    await lane.withSession(makeCall(), async (session) => {
      await session.command('begin');
      const failures = await Promise.all([
        failureOf(session.sql`select 1 / 0`),
        failureOf(session.sql`insert into facts values (10)`),
        failureOf(session.sql`insert into facts values (11)`),
      ]);
      expect(failures.map(sqlStateOf)).toEqual(['22012', '22012', '22012']);
      expect(sqlStateOf(await failureOf(session.sql`select 1`))).toBe('25P02');
      await session.command('rollback');
    });
  });

  it('sends nothing behind a command before it is answered', async () => {
    const [, row] = await lane.withSession(makeCall(), async (session) => {
      await session.sql`select 1`;
      return Promise.all([
        session.command('begin'),
        session.sql<{ xid: string }>`select pg_current_xact_id()::text as xid`.then(first),
        session.command('rollback'),
      ]);
    });
    expect(Number(row?.xid)).toBeGreaterThan(0);
  });

  it('is destroyed when its work ends with a transaction open', async () => {
    const pid = await lane.withSession(makeCall(), async (session) => {
      await session.command('begin');
      await session.sql`insert into facts values (2)`;
      return pidIn(session);
    });
    expect(await lane.sql(makeCall())`select from facts`).toHaveLength(0);
    expect(await lane.withSession(makeCall(), pidIn)).not.toBe(pid);
  });

  it('is destroyed when its work ends with a statement under way', async () => {
    let left: Promise<AppError> | undefined;
    const pid = await lane.withSession(makeCall(), async (session) => {
      const own = await pidIn(session);
      left = failureOf(session.sql`select pg_sleep(600)`);
      return own;
    });
    expect(await left).toMatchObject({ code: 'UNAVAILABLE' });
    expect(await lane.withSession(makeCall(), pidIn)).not.toBe(pid);
  });

  it('runs nothing on another connection after its own was lost', async () => {
    const before = requestRetries.figures().retries;
    await lane.withSession(makeCall(), async (session) => {
      await session.command('begin');
      await session.sql`insert into facts values (3)`;
      chaos.cut();
      const errors = await Promise.all([
        failureOf(session.sql`insert into facts values (4)`),
        failureOf(session.sql`insert into facts values (5)`),
      ]);
      expect(errors.map(({ code }) => code)).toEqual(['UNAVAILABLE', 'UNAVAILABLE']);
      expect(session.isLost).toBe(true);
      expect((await failureOf(session.command('commit'))).executed).toBe('NO');
    });
    expect(await lane.sql(makeCall())`select from facts`).toHaveLength(0);
    expect(requestRetries.figures().retries).toBe(before);
  });

  it('refuses a statement that comes after its end', async () => {
    const session = await lane.withSession(makeCall(), async (handle) => handle);
    await expect(Promise.resolve(session.sql`select 1`)).rejects.toThrow('after the end');
  });

  it('reads one state of the database in repeatable read', async () => {
    await database.trading.withSession(makeCall(), async (session) => {
      await session.command('begin isolation level repeatable read read only');
      const first = await session.sql`select from facts`;
      await lane.sql(makeCall())`insert into facts values (6)`;
      expect(await session.sql`select from facts`).toHaveLength(first.length);
      expect((await failureOf(session.sql`insert into facts values (7)`)).executed).toBe('NO');
      await session.command('rollback');
    });
  });
});

describe('a spare session', () => {
  it('is given while the lane does one thing, and says when somebody waits for it', async () => {
    const { trading } = database;
    expect(trading.withSpareSession(makeCall(), pidIn)).toBeNull();
    const held = await hold(trading);
    const spare = trading.withSpareSession(makeCall(), async (session, isWanted) => {
      const before = isWanted();
      const waiting = trading.sql(makeCall())`select 1`.then();
      await expect.poll(() => trading.figures().waiting).toBe(1);
      return { pid: await pidIn(session), before, after: isWanted(), waiting };
    });
    expect(trading.withSpareSession(makeCall(), pidIn)).toBeNull();
    const { pid, before, after, waiting } = (await spare) ?? {};
    expect([before, after]).toEqual([true, false]);
    await waiting;
    expect(pid).toBeGreaterThan(0);
    expect(trading.figures()).toMatchObject({ busy: 1, waiting: 0 });
    await held.release();
  });

  it('is not given by a lane of one connection, nor by one that is closed', async () => {
    const held = await hold();
    expect(lane.withSpareSession(makeCall(), pidIn)).toBeNull();
    await held.release();
    await database.close();
    expect(database.trading.withSpareSession(makeCall(), pidIn)).toBeNull();
  });
});

describe('the queue', () => {
  it('serves first who came first', async () => {
    const held = await hold();
    const order: number[] = [];
    const waiting = [1, 2, 3].map(async (n) => {
      await lane.sql(makeCall())`select ${n}::int`;
      order.push(n);
    });
    await expect.poll(() => lane.figures()).toMatchObject({ busy: 1, idle: 0, waiting: 3 });
    await held.release();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
    expect(lane.figures()).toMatchObject({ busy: 0, idle: 1, waiting: 0 });
    expect(lane.figures().acquireMsP95).toBeGreaterThan(0);
  });

  it('takes as many as it may, and refuses one above', async () => {
    lane = open({ waitingMax: 2 }).interactive;
    const held = await hold(lane);
    const waiting = [1, 2].map((n) => lane.sql(makeCall())`select ${n}::int`.then());
    expect(lane.figures().waiting).toBe(2);
    const error = await failureOf(lane.sql(makeCall())`select 3`);
    expect(error).toMatchObject({ code: 'OVERLOADED', executed: 'NO' });
    expect(error.retryAfterMs).toBeGreaterThan(0);
    await held.release();
    expect(await Promise.all(waiting)).toHaveLength(2);
  });

  it('is left at the deadline and at an abort, with nothing executed', async () => {
    const held = await hold();
    const controller = new AbortController();
    const late = failureOf(lane.sql(makeCall({ deadlineMs: 20 }))`insert into facts values (8)`);
    const gone = failureOf(
      lane.sql(makeCall({ signal: controller.signal }))`insert into facts values (9)`,
    );
    expect(await late).toMatchObject({ code: 'DEADLINE_EXCEEDED', executed: 'NO' });
    controller.abort();
    expect(await gone).toMatchObject({ code: 'DEADLINE_EXCEEDED', executed: 'NO' });
    expect(lane.figures().waiting).toBe(0);
    await held.release();
    expect(await lane.sql(makeCall())`select from facts`).toHaveLength(0);
  });

  it('is waited in without a deadline', async () => {
    const held = await hold();
    const rows = lane.sql(makeCall({ deadlineAt: Number.POSITIVE_INFINITY }))`select 1`.then();
    await expect.poll(() => lane.figures().waiting).toBe(1);
    await held.release();
    expect(await rows).toHaveLength(1);
  });

  it('of one lane does not hold up another', async () => {
    const held = await hold(database.analytics);
    expect(await lane.sql(makeCall())`select 1`).toHaveLength(1);
    await held.release();
  });

  it('is refused, and what runs finishes, when the lane is closed', async () => {
    const running = lane.sql(makeCall())`/* lane.last */ select pg_sleep(0.02)`.then();
    const waiting = failureOf(lane.sql(makeCall())`select 2`);
    const closed = lane.close();
    expect(await waiting).toMatchObject({ code: 'UNAVAILABLE', executed: 'NO' });
    expect((await failureOf(lane.sql(makeCall())`select 3`)).code).toBe('UNAVAILABLE');
    expect(await running).toHaveLength(1);
    await closed;
    await expect.poll(() => chaos.connections).toBe(0);
  });
});

describe('the breaker of a lane', () => {
  it('opens after five failures to connect, fails at once, and closes when it can', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tw-lane-'));
    const socketPath = join(folder, 'later');
    const late = open({
      target: { ...testDatabase.target, socketPath },
      breaker: { halfOpenAfterMs: 1, halfOpenAfterMsMax: 1 },
    }).interactive;
    for (let failures = 0; failures < 5; failures += 1) {
      await failureOf(late.withSession(makeCall(), pidIn));
    }
    expect(late.figures().breaker).toMatchObject({ state: 'OPEN', failures: 5, opens: 1 });
    await symlink(testDatabase.target.socketPath ?? '', socketPath);
    await expect
      .poll(() => late.withSession(makeCall(), pidIn).catch(() => 0), { interval: 1 })
      .toBeGreaterThan(0);
    await late.withSession(makeCall(), pidIn);
    await late.withSession(makeCall(), pidIn);
    expect(late.figures().breaker).toMatchObject({ state: 'CLOSED', failures: 0, openedAt: null });
    await rm(folder, { recursive: true });
  });

  it('refuses with a time to come back while it is open', async () => {
    const socketPath = join(tmpdir(), 'tw-nobody', 'socket');
    const dead = open({ target: { ...testDatabase.target, socketPath } }).interactive;
    for (let failures = 0; failures < 5; failures += 1) {
      await failureOf(dead.withSession(makeCall(), pidIn));
    }
    const error = await failureOf(dead.sql(makeCall())`select 1`);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', executed: 'NO' });
    expect(error.retryAfterMs).toBeGreaterThan(0);
    expect(error.retryAfterMs).toBeLessThanOrEqual(1000);
  });

  it('does not count what statements and callers do', async () => {
    const short = open({ statementTimeoutMs: { interactive: 1 } }).interactive;
    for (let count = 0; count < 6; count += 1) {
      await failureOf(lane.sql(makeCall())`select 1 / 0`);
      await failureOf(lane.sql(makeCall({ deadlineMs: 5 }))`select pg_sleep(600)`);
      await failureOf(short.sql(makeCall())`select pg_sleep(600)`);
    }
    for (const each of [lane, short]) {
      expect(each.figures().breaker).toMatchObject({ state: 'CLOSED', failures: 0, opens: 0 });
    }
  });
});
