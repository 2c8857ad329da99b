import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Call } from '../../../datasources/lane.ts';
import { connect, DatabaseError, type PostgresTarget } from '../../../datasources/postgres.ts';
import {
  type Connection,
  createSlot,
  type Slot,
  type SlotOptions,
} from '../../../datasources/slot.ts';
import { createSql, type Sql } from '../../../datasources/sql.ts';
import { makeCall } from '../../support/call.ts';
import { type Chaos, createChaos } from '../../support/chaos.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
let chaos: Chaos;
let admin: ReturnType<typeof connect>;
const slots: Slot[] = [];

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  admin = connect(database.target, { statementTimeoutMs: 0, applicationName: 'admin' });
  await admin.unsafe('create table facts (id int primary key)');
});

afterAll(async () => {
  await admin.end({ timeout: 1 });
  await database.drop();
});

beforeEach(async () => {
  await admin.unsafe('truncate facts');
  chaos = await createChaos(database.target.socketPath ?? '');
});

afterEach(async () => {
  await Promise.all(slots.splice(0).map((slot) => slot.close()));
  await chaos.close();
});

function makeSlot(changes: Partial<SlotOptions> = {}) {
  return makeSlotOf({ ...database.target, socketPath: chaos.socketPath }, changes);
}

function makeSlotOf(target: PostgresTarget, changes = {}): Slot {
  const slot = createSlot({
    target,
    applicationName: 'slot test',
    statementTimeoutMs: 20_000,
    overtimeCode: 'DEADLINE_EXCEEDED',
    renewAfterMs: () => 60_000,
    ...changes,
  });
  slots.push(slot);
  return slot;
}

function sqlOf(connection: Connection, call: Call = makeCall()): Sql {
  return createSql((statement) => connection.query(statement, call));
}

async function pidOf(connection: Connection): Promise<number> {
  const [row] = await sqlOf(connection)<{ pid: number }>`select pg_backend_pid() as pid`;
  return row?.pid ?? 0;
}

const failureOf = async (work: PromiseLike<unknown>): Promise<DatabaseError> => {
  const error = await Promise.resolve(work).then(
    () => new Error('it did not fail'),
    (failure: unknown) => failure,
  );
  if (!(error instanceof DatabaseError)) throw error;
  return error;
};

describe('a session', () => {
  it('has the limits of its lane, UTC and ISO dates', async () => {
    const connection = await makeSlot({ statementTimeoutMs: 1234 }).open(makeCall());
    const rows = await sqlOf(connection)`
      select name, setting from pg_settings where name in ('application_name', 'statement_timeout',
        'idle_in_transaction_session_timeout', 'client_connection_check_interval', 'TimeZone',
        'DateStyle', 'plan_cache_mode') order by name`;
    expect(Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))).toEqual({
      application_name: 'slot test',
      client_connection_check_interval: '1000',
      DateStyle: 'ISO, MDY',
      idle_in_transaction_session_timeout: '10000',
      plan_cache_mode: 'auto',
      statement_timeout: '1234',
      TimeZone: 'UTC',
    });
  });

  it('reads exact numbers and instants as strings, and arrays by their type', async () => {
    const sql = sqlOf(await makeSlot().open(makeCall()));
    const rows = await sql`
      select 0.10::numeric as some_number, 9007199254740993::int8 as big, 1.5::float8 as ratio,
        timestamptz '2026-11-23 04:46:08.1+00' as at, date '2026-11-23' as on_day,
        '{"a_b": [1]}'::jsonb as document, array['a', null, 'b"\\c'] as texts,
        array[1.10, null]::numeric[] as numbers, array[1, 2] as counts, array[true, null] as flags,
        array[timestamptz '2026-11-23 04:46:08+00'] as instants, '{}'::text[] as none`;
    expect([...rows]).toEqual([
      {
        someNumber: '0.10',
        big: '9007199254740993',
        ratio: 1.5,
        at: '2026-11-23T04:46:08.100000Z',
        onDay: '2026-11-23',
        document: { a_b: [1] },
        texts: ['a', null, 'b"\\c'],
        numbers: ['1.10', null],
        counts: [1, 2],
        flags: [true, null],
        instants: ['2026-11-23T04:46:08.000000Z'],
        none: [],
      },
    ]);
  });

  it('sends what it was given, to the microsecond and the last digit', async () => {
    const sql = sqlOf(await makeSlot().open(makeCall()));
    const [row] = await sql`
      select ${'2026-11-23T04:46:08.123456Z'}::timestamptz as at, ${'0.1234567890123456789'}::numeric
        as n, ${'{"a":"0.10"}'}::text::json as document, ${'[1]'}::jsonb as list,
        ${['a"b', null, 'c\\d']}::text[] as texts, ${[3, 1]}::int[] as counts,
        ${['2026-11-23T04:46:08.123456Z']}::timestamptz[] as instants, ${true}::boolean as flag,
        ${['t', 'f']}::boolean[] as flags, ${new Uint8Array([0, 255])}::bytea as bytes,
        ${null}::text as nothing, ${1.5}::float8 as ratio`;
    expect(row).toEqual({
      at: '2026-11-23T04:46:08.123456Z',
      n: '0.1234567890123456789',
      document: { a: '0.10' },
      list: [1],
      texts: ['a"b', null, 'c\\d'],
      counts: [3, 1],
      instants: ['2026-11-23T04:46:08.123456Z'],
      flag: true,
      flags: [true, false],
      bytes: Buffer.from([0, 255]),
      nothing: null,
      ratio: 1.5,
    });
  });

  it('answers statements that were sent together in their order', async () => {
    const connection = await makeSlot().open(makeCall());
    const sql = sqlOf(connection);
    const answers: number[] = [];
    const ask = async (number: number) => {
      const [row] = await sql<{ number: number }>`select ${number}::int as number`;
      answers.push(row?.number ?? 0);
    };
    await Promise.all([ask(1), ask(2), ask(3), ask(4)]);
    expect(answers).toEqual([1, 2, 3, 4]);
  });

  it('loses all that was sent with the connection', async () => {
    const connection = await makeSlot().open(makeCall());
    const sql = sqlOf(connection);
    const answers = [sql`select pg_sleep(60)`.then(), sql`select 1`.then(), sql`select 2`.then()];
    connection.destroy();
    const settled = await Promise.allSettled(answers);
    expect(settled).toEqual(
      answers.map(() => ({
        status: 'rejected',
        reason: expect.objectContaining({ isConnectionLost: true, executed: 'NO' }),
      })),
    );
  });

  it('is used until it is old, then replaced by another', async () => {
    const young = makeSlot();
    const pid = await pidOf(await young.open(makeCall()));
    young.renewWhenOld();
    expect(await pidOf(await young.open(makeCall()))).toBe(pid);
    const old = makeSlot({ renewAfterMs: () => 0 });
    const oldPid = await pidOf(await old.open(makeCall()));
    old.renewWhenOld();
    expect(old.connection).toBeNull();
    expect(await pidOf(await old.open(makeCall()))).not.toBe(oldPid);
  });
});

describe('a limit', () => {
  it('of the server ends the statement and leaves the session', async () => {
    const connection = await makeSlot({ statementTimeoutMs: 20 }).open(makeCall());
    const error = await failureOf(sqlOf(connection)`select pg_sleep(60)`);
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', sqlState: '57014', executed: 'NO' });
    expect(error.message).toBe('The statement took longer than 0.02 s.');
    expect(connection.isLost).toBe(false);
    expect(await pidOf(connection)).toBeGreaterThan(0);
  });

  it('of the call destroys the socket, and the server stops the statement', async () => {
    const slot = makeSlot();
    const connection = await slot.open(makeCall());
    const pid = await pidOf(connection);
    const error =
      await failureOf(sqlOf(connection, makeCall({ deadlineMs: 50 }))`select pg_sleep(600)`);
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', isConnectionLost: false });
    expect(connection.isLost).toBe(true);
    expect(slot.connection).toBeNull();
    await expect
      .poll(() => admin.unsafe(`select from pg_stat_activity where pid = ${pid}`), {
        timeout: 10_000,
      })
      .toHaveLength(0);
  });

  it('makes a read that runs too long too expensive, whoever stops it', async () => {
    const reading = { overtimeCode: 'QUERY_TOO_EXPENSIVE' } as const;
    const stopped = await makeSlot({ ...reading, statementTimeoutMs: 20 }).open(makeCall());
    const byServer = await failureOf(sqlOf(stopped)`select pg_sleep(60)`);
    expect(byServer).toMatchObject({ code: 'QUERY_TOO_EXPENSIVE', sqlState: '57014' });
    expect(byServer.isRetryable).toBe(false);
    const cut = await makeSlot(reading).open(makeCall());
    const call = makeCall({ deadlineMs: 50, isServerDeadline: true });
    const byDeadline = await failureOf(sqlOf(cut, call)`select pg_sleep(600)`);
    expect(byDeadline).toMatchObject({ code: 'QUERY_TOO_EXPENSIVE', executed: 'NO' });
    expect(cut.isLost).toBe(true);
  });

  it('that the client named is its own affair, and one that passed before is nobody’s', async () => {
    const reading = { overtimeCode: 'QUERY_TOO_EXPENSIVE' } as const;
    const connection = await makeSlot(reading).open(makeCall());
    const passed = makeCall({ deadlineMs: -1, isServerDeadline: true });
    expect((await failureOf(sqlOf(connection, passed)`select 1`)).code).toBe('DEADLINE_EXCEEDED');
    const named = makeCall({ deadlineMs: 50 });
    const error = await failureOf(sqlOf(connection, named)`select pg_sleep(600)`);
    expect(error.code).toBe('DEADLINE_EXCEEDED');
  });

  it('that has passed refuses a statement and keeps the session', async () => {
    const connection = await makeSlot().open(makeCall());
    const late = makeCall({ deadlineMs: -1 });
    expect((await failureOf(sqlOf(connection, late)`select 1`)).code).toBe('DEADLINE_EXCEEDED');
    expect(connection.isLost).toBe(false);
  });

  it('of silence is a lost connection', async () => {
    const connection = await makeSlot({ statementTimeoutMs: 20 }).open(makeCall());
    chaos.freeze();
    const error = await failureOf(sqlOf(connection)`select 1`);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', isConnectionLost: true, executed: 'NO' });
    expect(connection.isLost).toBe(true);
  });

  it('of the call holds while a session is opened', async () => {
    chaos.freeze();
    const error = await failureOf(makeSlot().open(makeCall({ deadlineMs: 50 })));
    expect(error.code).toBe('DEADLINE_EXCEEDED');
  });
});

describe('a lost connection', () => {
  it('fails the statement that runs, and another session takes over', async () => {
    const slot = makeSlot();
    const connection = await slot.open(makeCall());
    const pid = await pidOf(connection);
    const running = failureOf(sqlOf(connection)`select pg_sleep(600)`);
    await expect
      .poll(() =>
        admin.unsafe(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where pid = ${pid} and wait_event = 'PgSleep'`,
        ),
      )
      .toHaveLength(1);
    expect(await running).toMatchObject({ code: 'UNAVAILABLE', isConnectionLost: true });
    expect((await failureOf(sqlOf(connection)`select 1`)).isConnectionLost).toBe(true);
    expect(await pidOf(await slot.open(makeCall()))).not.toBe(pid);
  });

  it('is noticed while nothing runs', async () => {
    const slot = makeSlot();
    const connection = await slot.open(makeCall());
    const pid = await pidOf(connection);
    await admin.unsafe(`select pg_terminate_backend(${pid})`);
    await expect.poll(() => connection.isLost).toBe(true);
    expect(slot.connection).toBeNull();
  });

  it('takes back a transaction that was open', async () => {
    const connection = await makeSlot().open(makeCall());
    await connection.command('begin', makeCall());
    await sqlOf(connection)`insert into facts values (1)`;
    chaos.cut();
    await expect.poll(() => connection.isLost).toBe(true);
    expect((await failureOf(connection.command('commit', makeCall()))).executed).toBe('NO');
    expect(await admin.unsafe('select from facts')).toHaveLength(0);
  });

  it('is what FATAL means, whatever the code', async () => {
    const slot = makeSlotOf({ ...database.target, database: 'nowhere' });
    const error = await failureOf(slot.open(makeCall()));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', sqlState: '3D000', isConnectionLost: true });
    expect(error.message).not.toContain('nowhere');
  });

  it.each([
    ['nobody listens', async () => join(tmpdir(), 'tw-nobody', '.s.PGSQL.5432')],
    ['the server hangs up at once', hangUpAtOnce],
  ])('is the answer when %s', async (_what, path) => {
    const slot = makeSlotOf({ ...database.target, socketPath: await path() });
    const error = await failureOf(slot.open(makeCall()));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', isConnectionLost: true });
  });
});

describe('COMMIT', () => {
  async function begun(): Promise<Connection> {
    const connection = await makeSlot().open(makeCall());
    await connection.command('begin', makeCall());
    await sqlOf(connection)`insert into facts values (1)`;
    return connection;
  }

  it.each([
    ['before', 0],
    ['after', 1],
  ] as const)('cut %s the server got it is UNKNOWN, with %i rows stored', async (when, rows) => {
    const connection = await begun();
    const cut = chaos.cutAt('commit', when);
    const error = await failureOf(connection.command('commit', makeCall()));
    await cut;
    expect(error).toMatchObject({ code: 'UNAVAILABLE', executed: 'UNKNOWN' });
    expect(error.isConnectionLost).toBe(true);
    expect(await admin.unsafe('select from facts')).toHaveLength(rows);
  });

  it('is waited for beyond the deadline once it was sent', async () => {
    const connection = await begun();
    chaos.freeze();
    const call = makeCall({ deadlineMs: 20 });
    const committed = connection.command('commit', call);
    await expect.poll(() => performance.now() > call.deadlineAt + 20).toBe(true);
    chaos.thaw();
    expect((await committed).command).toBe('COMMIT');
  });

  it('is not sent after the deadline, and ROLLBACK is', async () => {
    const connection = await begun();
    const late = makeCall({ deadlineMs: -1 });
    const error = await failureOf(connection.command('commit', late));
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', executed: 'NO' });
    expect((await connection.command('rollback', late)).command).toBe('ROLLBACK');
    expect(await admin.unsafe('select from facts')).toHaveLength(0);
  });

  it('of a failed transaction is answered with ROLLBACK', async () => {
    const connection = await begun();
    await failureOf(sqlOf(connection)`insert into facts values (1)`);
    expect((await connection.command('commit', makeCall())).command).toBe('ROLLBACK');
  });
});

async function hangUpAtOnce(): Promise<string> {
  const path = join(tmpdir(), `tw-hang-up-${process.pid}`);
  const server = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(path, resolve));
  server.unref();
  return path;
}
