import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connect } from '../../datasources/postgres.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startProcess, type TestProcess } from '../support/process.ts';
import { databaseUrl } from '../support/server.ts';
import { OPERATION_ITEMS, startWriters } from '../support/writers.ts';

const KILLS_MIN = 200;
const STORM_MS_MIN = 10_000;
const WRITERS = 4;

let database: TestDatabase;
let home: string;
let server: TestProcess;
let killer: postgres.Sql;

beforeAll(async () => {
  database = await createTestDatabase();
  home = await mkdtemp(join(tmpdir(), 'tw-storm-'));
  killer = connect(database.target, { statementTimeoutMs: 0, applicationName: 'killer' });
  const environment = { DATABASE_URL: databaseUrl(database.target), TRADEWIND_HOME: home };
  server = startProcess(environment, 'start');
});

afterAll(async () => {
  server.child.kill('SIGKILL');
  await server.ended;
  await killer.end({ timeout: 1 });
  await database.drop();
  await rm(home, { recursive: true, force: true });
});

it('tears, loses and repeats nothing while its backends are killed', {
  timeout: 120_000,
}, async () => {
  const url = await server.ready();
  const key = /First key\s+(\S+)/.exec(server.output.stdout)?.[1] ?? '';
  const writers = startWriters(WRITERS, () => ({ url, key }));
  await writers.progress();
  const endAt = performance.now() + STORM_MS_MIN;
  let kills = 0;
  while (kills < KILLS_MIN || performance.now() < endAt) {
    await writers.progress();
    const killed = await killer`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name like 'tradewind%'
      order by random() limit 2`;
    kills += killed.length;
  }
  await writers.stop();

  expect(writers.failures).toEqual([]);
  expect(server.child.exitCode).toBeNull();
  const stored = await readOperations();
  const torn = stored.filter(
    ({ positions, predictions, horizons, trades, changes }) =>
      [positions, predictions, horizons, trades].some((count) => count !== OPERATION_ITEMS) ||
      // A row for each position, and in the log once.
      changes !== OPERATION_ITEMS,
  );
  expect(torn).toEqual([]);
  const names = stored.map(({ operation }) => operation).sort();
  expect(names).toEqual([...writers.acknowledged.keys()].sort());
  expect(await holesInLog()).toEqual([]);
  process.stdout.write(
    `storm: ${kills} kills, ${names.length} operations of ${2 * OPERATION_ITEMS} items, ` +
      `${writers.retries} sent again, ${writers.replays} answered from their key\n`,
  );

  server.child.kill('SIGTERM');
  expect(await server.ended).toEqual([0, null]);
});

interface StoredOperation {
  readonly operation: string;
  readonly positions: number;
  readonly predictions: number;
  readonly horizons: number;
  readonly trades: number;
  readonly changes: number;
}

/** What is there of each operation, even where only one of its tables has it. */
async function readOperations(): Promise<readonly StoredOperation[]> {
  const rows = await killer.unsafe<StoredOperation[]>(`
    with parts as (
      select strategy as operation, 'positions' as part from positions
      union all select strategy, 'trades' from trades
      union all select model_version, 'predictions' from predictions
      union all select p.model_version, 'horizons' from predictions p
        join prediction_horizons h on h.prediction_id = p.id
      union all select after ->> 'strategy', 'changes' from changes where entity = 'position'
    )
    select operation,
      count(*) filter (where part = 'positions')::int as positions,
      count(*) filter (where part = 'trades')::int as trades,
      count(*) filter (where part = 'predictions')::int as predictions,
      count(*) filter (where part = 'horizons')::int as horizons,
      count(*) filter (where part = 'changes')::int as changes
    from parts group by operation`);
  return [...rows];
}

/** The seqs that are not one above the one before, of each account. */
async function holesInLog(): Promise<readonly unknown[]> {
  const rows = await killer`
    select account_id, seq from (
      select account_id, seq, lag(seq, 1, 0::bigint) over (partition by account_id order by seq)
        as previous
      from changes) as steps
    where seq <> previous + 1`;
  return [...rows];
}
