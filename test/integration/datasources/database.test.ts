import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { settleCommit } from '../../../datasources/commit.ts';
import { checkConnections, createDatabase, type Database } from '../../../datasources/database.ts';
import { startEmbeddedPostgres } from '../../../datasources/embedded-postgres.ts';
import type { Session } from '../../../datasources/lane.ts';
import type { PostgresTarget } from '../../../datasources/postgres.ts';
import type { Sql } from '../../../datasources/sql.ts';
import { AppError, FatalError } from '../../../errors.ts';
import { makeCall } from '../../support/call.ts';
import { type Chaos, createChaos } from '../../support/chaos.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

const SLOTS = { trading: 2, interactive: 1, analytics: 1, feed: 1 };

let testDatabase: TestDatabase;
let chaos: Chaos;
let database: Database;

const open = (target: PostgresTarget): Database =>
  createDatabase({ target, slots: SLOTS, log: { warn: () => undefined } });

beforeAll(async () => {
  testDatabase = await createTestDatabase({ migrated: false });
  chaos = await createChaos(testDatabase.target.socketPath ?? '');
  database = open({ ...testDatabase.target, socketPath: chaos.socketPath });
  await database.interactive.sql(makeCall())`create table facts (id int primary key)`;
});

afterAll(async () => {
  await database.close();
  await chaos.close();
  await testDatabase.drop();
});

const failureOf = async (work: PromiseLike<unknown>): Promise<AppError> => {
  const error = await Promise.resolve(work).then(
    () => new Error('it did not fail'),
    (failure: unknown) => failure,
  );
  if (!(error instanceof AppError)) throw error;
  return error;
};

describe('the analytics lane', () => {
  it('plans partition by partition for each range, and no other lane does', async () => {
    const plannedBy = async (lane: 'analytics' | 'interactive') => {
      const sql = database[lane].sql(makeCall());
      const [row] = await sql<{ all: string }>`
        select current_setting('enable_partitionwise_join') || ' ' ||
          current_setting('enable_partitionwise_aggregate') || ' ' ||
          current_setting('plan_cache_mode') as all`;
      return row?.all;
    };
    expect([await plannedBy('analytics'), await plannedBy('interactive')]).toEqual([
      'on on force_custom_plan',
      'off off auto',
    ]);
  });
});

describe('settleCommit', () => {
  async function begun(session: Session, id: number): Promise<string> {
    await session.command('begin');
    const [row] = await session.sql<{ xid: string }>`
      insert into facts values (${id}) returning pg_current_xact_id()::text as xid`;
    return row?.xid ?? '';
  }

  it.each([
    ['before', 'aborted'],
    ['after', 'committed'],
  ] as const)('knows what became of a COMMIT cut %s the server got it', async (when, fate) => {
    await database.trading.withSession(makeCall(), async (session) => {
      const xid = await begun(session, 10);
      const cut = chaos.cutAt('commit', when);
      expect((await failureOf(session.command('commit'))).executed).toBe('UNKNOWN');
      expect(session.isLost).toBe(true);
      await cut;
      expect(await settleCommit(database, makeCall(), xid)).toBe(fate);
    });
  });

  it('waits for a transaction that is still in progress, beyond the deadline', async () => {
    await database.trading.withSession(makeCall(), async (session) => {
      const xid = await begun(session, 11);
      const fate = settleCommit(database, makeCall({ deadlineMs: -1 }), xid);
      const asked = () =>
        database.statistics
          .snapshot()
          .statements.find(({ name }) => name === 'transactions.status');
      await expect.poll(() => asked()?.calls).toBeGreaterThan(1);
      await session.command('commit');
      expect(await fate).toBe('committed');
    });
  });

  it('takes the commit of another transaction with the same id for what it is', async () => {
    await database.trading.withSession(makeCall(), async (session) => {
      const xid = await begun(session, 12);
      await session.command('commit');
      // As after a crash that lost the first one: the row of ours is not there.
      const proof = (id: number) => async (sql: Sql) =>
        (await sql`select from facts where id = ${id}`).length > 0;
      expect(await settleCommit(database, makeCall(), xid, proof(13))).toBe('aborted');
      expect(await settleCommit(database, makeCall(), xid, proof(12))).toBe('committed');
    });
  });

  it('does not know a transaction that the database never had', async () => {
    expect(await settleCommit(database, makeCall(), '9223372036854775000')).toBe('unknown');
  });
});

describe('checkConnections', () => {
  it('refuses more than the server has room for', async () => {
    const home = await mkdtemp(join(tmpdir(), 'tw-small-'));
    await chmod(home, 0o755);
    const server = await startEmbeddedPostgres({
      home,
      settings: { max_connections: '8', superuser_reserved_connections: '3', fsync: 'off' },
    });
    const target = { ...server.connection, isPrepareOn: true, isTlsOn: false };
    const small = open(target);
    await expect(checkConnections(small, SLOTS)).resolves.toBeUndefined();
    const error = await checkConnections(small, { ...SLOTS, feed: 2 }).catch((fault) => fault);
    expect(error).toBeInstanceOf(FatalError);
    expect(error.message).toBe(
      'The lanes have 6 connections together, but the database allows 5: raise max_connections ' +
        'or lower the slots.',
    );
    await small.close();
    await server.stop();
    await rm(home, { recursive: true });
  });

  it('accepts what fits', async () => {
    await expect(checkConnections(database, SLOTS)).resolves.toBeUndefined();
  });

  it('counts what is opened beside the lanes, of every process', async () => {
    const slots = { trading: 21, interactive: 1, analytics: 1, feed: 1 };
    await expect(
      checkConnections(database, slots, { processes: 2, beside: 1 }),
    ).resolves.toBeUndefined();
    const error = await checkConnections(database, slots, { processes: 2, beside: 2 }).catch(
      (fault) => fault,
    );
    expect(error.message).toBe('The lanes have 52 connections together: at most 50 are allowed.');
  });

  it('accepts 50 connections together and refuses 51', async () => {
    const slots = { trading: 32, interactive: 16, analytics: 1, feed: 1 };
    await expect(checkConnections(database, slots)).resolves.toBeUndefined();
    const error = await checkConnections(database, { ...slots, feed: 2 }).catch((fault) => fault);
    expect(error).toBeInstanceOf(FatalError);
    expect(error.message).toBe('The lanes have 51 connections together: at most 50 are allowed.');
  });
});
