import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { settleCommit } from '../../../datasources/commit.ts';
import { createDatabase, type Database } from '../../../datasources/database.ts';
import { connect } from '../../../datasources/postgres.ts';
import { AppError } from '../../../errors.ts';
import { makeCall } from '../../support/call.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

const KILLS_MIN = 200;
const STORM_MS_MIN = 10_000;
const WRITERS = 6;
const BATCH = 20;

let testDatabase: TestDatabase;
let database: Database;
const escaped: unknown[] = [];
const onEscape = (error: unknown) => escaped.push(error);

beforeAll(async () => {
  testDatabase = await createTestDatabase({ migrated: false });
  database = createDatabase({
    target: testDatabase.target,
    slots: { trading: 4, interactive: 2, analytics: 1, feed: 1 },
    log: { warn: () => undefined },
    breaker: { halfOpenAfterMs: 20, halfOpenAfterMsMax: 20 },
  });
  process.on('uncaughtException', onEscape);
  process.on('unhandledRejection', onEscape);
});

afterAll(async () => {
  process.off('uncaughtException', onEscape);
  process.off('unhandledRejection', onEscape);
  await database.close();
  await testDatabase.drop();
});

it('tears, loses and repeats no transaction while its connections are killed', async () => {
  const killer = connect(testDatabase.target, { statementTimeoutMs: 0, applicationName: 'killer' });
  await killer.unsafe(
    'create table halves (transaction int, half int, item int, primary key (transaction, half, item))',
  );
  const storm = createStorm();
  const writers = Promise.all(Array.from({ length: WRITERS }, () => writeUntil(storm)));
  const endAt = performance.now() + STORM_MS_MIN;
  while (storm.kills < KILLS_MIN || performance.now() < endAt) {
    await storm.progress();
    const killed = await killer.unsafe(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'tradewind trading'
       order by random() limit 1`,
    );
    storm.kills += killed.length;
  }
  storm.isOver = true;
  await writers;

  const stored = await killer.unsafe<{ transaction: number; rows: number }[]>(
    'select transaction, count(*)::int as rows from halves group by 1 order by 1',
  );
  await killer.end({ timeout: 1 });
  const torn = stored.filter(({ rows }) => rows !== 2 * BATCH);
  expect({ torn, escaped, repeated: storm.repeated }).toEqual({
    torn: [],
    escaped: [],
    repeated: 0,
  });
  const acknowledged = [...storm.acknowledged].sort((a, b) => a - b);
  expect(stored.map(({ transaction }) => transaction)).toEqual(acknowledged);
  expect(storm.lost).toBeGreaterThan(0);
  process.stdout.write(
    `storm: ${storm.kills} kills, ${acknowledged.length} commits, ${storm.lost} attempts lost, ` +
      `${storm.settled} commits settled by pg_xact_status\n`,
  );
});

function createStorm() {
  let waiting: (() => void) | null = null;
  return {
    isOver: false,
    kills: 0,
    lost: 0,
    settled: 0,
    repeated: 0,
    started: 0,
    acknowledged: new Set<number>(),
    /** The next commit. */
    progress: () => new Promise<void>((resolve) => (waiting = resolve)),
    acknowledge(transaction: number) {
      this.acknowledged.add(transaction);
      waiting?.();
    },
  };
}

async function writeUntil(storm: ReturnType<typeof createStorm>): Promise<void> {
  while (!storm.isOver) {
    const transaction = storm.started;
    storm.started += 1;
    while (!(await write(storm, transaction))) {
      storm.lost += 1;
      // An open breaker refuses without a turn of the loop, which would then never come.
      await setImmediate();
    }
    storm.acknowledge(transaction);
  }
}

/** Whether the transaction is committed; false when it is known not to be. */
async function write(storm: ReturnType<typeof createStorm>, transaction: number): Promise<boolean> {
  const call = makeCall();
  const items = Array.from({ length: BATCH }, (_item, index) => index);
  let xid: string | undefined;
  try {
    const tag = await database.trading.withSession(call, async (session) => {
      await session.command('begin');
      for (const half of [1, 2]) {
        const rows = await session.sql<{ xid: string }>`
          /* halves.insertMany */
          insert into halves select ${transaction}, ${half}, item
          from unnest(${items}::int[]) as item
          returning pg_current_xact_id()::text as xid`;
        xid = rows[0]?.xid;
      }
      return session.command('commit');
    });
    return tag === 'COMMIT';
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    // The row is there: the same transaction was committed before.
    if (error.code === 'CONFLICT') storm.repeated += 1;
    if (error.executed !== 'UNKNOWN' || xid === undefined) return false;
    storm.settled += 1;
    const fate = await settleCommit(database, call, xid, async (sql) => {
      const rows = await sql`select from halves where transaction = ${transaction} limit 1`;
      return rows.length > 0;
    });
    expect(fate).not.toBe('unknown');
    return fate === 'committed';
  }
}
