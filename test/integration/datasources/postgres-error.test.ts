import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../../datasources/database.ts';
import { connect, DatabaseError } from '../../../datasources/postgres.ts';
import { type Connection, createSlot, type Slot } from '../../../datasources/slot.ts';
import { createSql } from '../../../datasources/sql.ts';
import { makeCall } from '../../support/call.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { AUTHORITY_FILE, createTlsFront, type TlsFront } from '../../support/tls.ts';

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase({ migrated: false });
  database = createDatabase({
    target: testDatabase.target,
    slots: { trading: 2, interactive: 1, analytics: 1, feed: 1 },
    log: { warn: () => undefined },
  });
  const admin = connect(testDatabase.target, { statementTimeoutMs: 0 });
  await admin.unsafe(`
    create table owners (id int primary key);
    create table facts (
      id int primary key, owner int references owners, name text not null,
      price numeric constraint price_is_positive check (price > 0), span int4range,
      exclude using gist (span with &&));
    insert into facts values (1, null, 'sesame', 1, '[1,5)')`);
  await admin.end({ timeout: 1 });
});

afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

const failureOf = async (work: PromiseLike<unknown>): Promise<DatabaseError> => {
  const error = await Promise.resolve(work).then(
    () => new Error('it did not fail'),
    (failure: unknown) => failure,
  );
  if (!(error instanceof DatabaseError)) throw error;
  return error;
};

describe('a refused statement', () => {
  it.each([
    [
      'a unique key',
      "insert into facts (id, name) values (1, 'sesame')",
      'CONFLICT',
      '23505',
      'facts_pkey',
    ],
    [
      'an exclusion',
      "insert into facts values (2, null, 'sesame', 1, '[4,6)')",
      'CONFLICT',
      '23P01',
      'facts_span_excl',
    ],
    [
      'a foreign key',
      "insert into facts values (2, 77, 'sesame')",
      'BAD_INPUT',
      '23503',
      'facts_owner_fkey',
    ],
    [
      'a check',
      "insert into facts values (2, null, 'sesame', -5)",
      'BAD_INPUT',
      '23514',
      'price_is_positive',
    ],
    ['a malformed value', "select 'sesame'::uuid", 'BAD_INPUT', '22P02', null],
    ['a value out of range', 'select 99999999999::int', 'BAD_INPUT', '22003', null],
    ['a zero byte', "select convert_from('\\x00', 'UTF8')", 'BAD_INPUT', '22021', null],
    [
      'a missing value',
      'insert into facts (id) values (2)',
      'INTERNAL_SERVER_ERROR',
      '23502',
      null,
    ],
    ['a missing table', 'select * from sesame', 'INTERNAL_SERVER_ERROR', '42P01', null],
    ['a syntax error', 'selec sesame', 'INTERNAL_SERVER_ERROR', '42601', null],
    [
      'a conflict of writes',
      "do $$ begin raise 'sesame' using errcode = '40001'; end $$",
      'SERIALIZATION_FAILURE',
      '40001',
      null,
    ],
    [
      'a held lock',
      "do $$ begin raise 'sesame' using errcode = '55P03'; end $$",
      'SERIALIZATION_FAILURE',
      '55P03',
      null,
    ],
    [
      'a full disk',
      "do $$ begin raise 'sesame' using errcode = '53100'; end $$",
      'UNAVAILABLE',
      '53100',
      null,
    ],
    [
      'a code of ours',
      "do $$ begin raise 'sesame' using errcode = 'TW001'; end $$",
      'INTERNAL_SERVER_ERROR',
      'TW001',
      null,
    ],
  ])(
    'for %s has its code, and no word of the row',
    async (_what, text, code, sqlState, constraint) => {
      const error = await database.trading.withSession(makeCall(), async (session) =>
        failureOf(session.sql(asTemplate(text))),
      );
      expect(error).toMatchObject({ code, sqlState, constraint, executed: 'NO' });
      expect(error.isConnectionLost).toBe(false);
      expect(error.message).not.toContain('sesame');
      expect(JSON.stringify({ ...error, cause: undefined })).not.toContain('sesame');
      expect(error.cause).toBeInstanceOf(Error);
    },
  );

  it('for a deadlock may be run again', async () => {
    await database.interactive.sql(
      makeCall(),
    )`insert into facts (id, name) values (11, ''), (12, '')`;
    const bothLocked = Promise.withResolvers<void>();
    let locked = 0;
    const lock = (first: number, second: number) =>
      database.trading.withSession(makeCall(), async (session) => {
        await session.command('begin');
        await session.sql`select from facts where id = ${first} for update`;
        locked += 1;
        if (locked === 2) bothLocked.resolve();
        await bothLocked.promise;
        await session.sql`select from facts where id = ${second} for update`.then(
          () => undefined,
          async (error: unknown) => {
            await session.command('rollback');
            throw error;
          },
        );
        await session.command('rollback');
      });
    const outcomes = await Promise.allSettled([lock(11, 12), lock(12, 11)]);
    const failed = outcomes.filter(({ status }) => status === 'rejected');
    expect(failed).toMatchObject([
      { reason: { code: 'SERIALIZATION_FAILURE', sqlState: '40P01' } },
    ]);
  });

  it('for a table that changed under a prepared statement may be run again', async () => {
    const sql = database.interactive.sql(makeCall());
    await sql`create table shapes (a int)`;
    await database.trading.withSession(makeCall(), async (session) => {
      const read = () => session.sql`select * from shapes`;
      await read();
      await sql`alter table shapes alter a type bigint`;
      await session.command('begin');
      expect(await failureOf(read())).toMatchObject({ code: 'SERIALIZATION_FAILURE' });
      await session.command('rollback');
      expect(await read()).toHaveLength(0);
    });
  });
});

// A statement of a table of cases is a text; a template has no values here.
function asTemplate(text: string): TemplateStringsArray {
  return Object.assign([text], { raw: [text] });
}

describe('TLS', () => {
  const closings: (() => Promise<void>)[] = [];

  afterEach(async () => {
    for (const close of closings.splice(0).reverse()) await close();
  });

  async function open(host: string, query: string, isTlsOffered = true) {
    const { socketPath = '', user = '', database: name = '' } = testDatabase.target;
    const front: TlsFront = await createTlsFront(socketPath, isTlsOffered);
    closings.push(() => front.close());
    const url = `postgres://${user}@${host}:${front.port}/${name}?${query}`;
    const slot: Slot = createSlot({
      target: { url, isPrepareOn: true, isTlsOn: true },
      applicationName: 'tls test',
      statementTimeoutMs: 20_000,
      overtimeCode: 'DEADLINE_EXCEEDED',
      renewAfterMs: () => 60_000,
    });
    closings.push(() => slot.close());
    return { slot, front };
  }

  const verified = `sslmode=verify-full&sslrootcert=${AUTHORITY_FILE}`;
  const sqlOf = (connection: Connection, deadlineMs = 30_000) =>
    createSql((statement) => connection.query(statement, makeCall({ deadlineMs })));

  it('carries a session to the server that proves its name, and nothing in the clear', async () => {
    const { slot, front } = await open('localhost', verified);
    const connection = await slot.open(makeCall());
    expect(await sqlOf(connection)`select ${'x'.repeat(100_000)}::text as x`).toHaveLength(1);
    expect(Buffer.concat(front.inTheClear)).toHaveLength(0);
  });

  it('is destroyed at the deadline like any other socket', async () => {
    const { slot } = await open('localhost', verified);
    const connection = await slot.open(makeCall());
    const error = await failureOf(sqlOf(connection, 30)`select pg_sleep(600)`);
    expect(error.code).toBe('DEADLINE_EXCEEDED');
    expect(slot.connection).toBeNull();
    expect(await sqlOf(await slot.open(makeCall()))`select 1`).toHaveLength(1);
  });

  it.each([
    ['a name that is not its own', '127.0.0.1', verified, true],
    ['an authority nobody knows', 'localhost', 'sslmode=verify-full', true],
    ['a server without TLS', 'localhost', verified, false],
  ])(
    'is refused for %s, before a name or a password is sent',
    async (_what, host, query, isOffered) => {
      const { slot, front } = await open(host, query, isOffered);
      const error = await failureOf(slot.open(makeCall()));
      expect(error).toMatchObject({ code: 'UNAVAILABLE', isConnectionLost: true });
      expect(Buffer.concat(front.inTheClear)).toHaveLength(0);
    },
  );
});
