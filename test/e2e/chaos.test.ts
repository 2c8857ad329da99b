import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { connect } from '../../datasources/postgres.ts';
import { type Broken, breakThings } from '../support/breakage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { type Comparison, type Follower, startFollower } from '../support/followers.ts';
import { type NodeProcess, startNode } from '../support/node-process.ts';
import { startProcess } from '../support/process.ts';
import { HAS_REDIS, startTestRedis, type TestRedis } from '../support/redis.ts';
import { databaseUrl } from '../support/server.ts';
import { startTraders, type Traders, UNIT_POSITIONS } from '../support/traders.ts';
import { makeAccount } from '../support/trading.ts';

/** CI has a minute of it; beside the other tests it is shorter. */
const SECONDS = Number(process.env.CHAOS_SECONDS ?? 12);
const ACCOUNTS = 4;
const WRITERS = 8;
const SUBSCRIBERS = 50;

interface Setup {
  readonly name: string;
  readonly seconds: number;
  readonly nodes: number;
  /** Of each node. */
  readonly workers: number;
  readonly hasRedis: boolean;
}

const SETUPS: readonly Setup[] = [
  { name: 'two nodes and Redis', seconds: SECONDS, nodes: 2, workers: 1, hasRedis: true },
  {
    name: 'two workers',
    // A worker is killed twice at least.
    seconds: Math.max(10, SECONDS / 2),
    nodes: 1,
    workers: 2,
    hasRedis: false,
  },
];

let database: TestDatabase;
let redis: TestRedis | null;
let home: string;
let sql: postgres.Sql;
const nodes: NodeProcess[] = [];
const followers: Follower[] = [];

async function start({ hasRedis, nodes: count, workers }: Setup): Promise<void> {
  database = await createTestDatabase();
  redis = hasRedis ? await startTestRedis() : null;
  home = await mkdtemp(join(tmpdir(), 'tw-chaos-'));
  sql = connect(database.target, { statementTimeoutMs: 0, applicationName: 'chaos' });
  // One after the other: the first one makes the key.
  while (nodes.length < count) nodes.push(await startNode(environment(workers)));
}

function environment(workers: number): Readonly<Record<string, string>> {
  return {
    DATABASE_URL: databaseUrl(database.target),
    ...(redis === null ? {} : { REDIS_URL: redis.url }),
    WORKERS: String(workers),
    TRADEWIND_HOME: home,
    LOG_LEVEL: 'fatal',
  };
}

afterEach(async () => {
  for (const follower of followers.splice(0)) follower.stop();
  for (const { process: running } of nodes.splice(0)) {
    running.child.kill('SIGKILL');
    await running.ended;
  }
  await redis?.stop();
  await sql.end({ timeout: 1 });
  await database.drop();
  await rm(home, { recursive: true, force: true });
});

describe.each(SETUPS.filter(({ hasRedis }) => HAS_REDIS || !hasRedis))('$name', (setup) => {
  beforeEach(() => start(setup));

  const test = 'lose, repeat and tear nothing while all around is killed';
  it(test, { timeout: setup.seconds * 1000 + 180_000 }, async () => {
    const { traders, broken, lost } = await trade(setup);

    expect(traders.failures).toEqual([]);
    await expectUnits(traders);
    const compared = await Promise.all(followers.map(compare));
    expect(lost).toEqual([]);
    expect(nodes.flatMap(({ crashes }) => crashes)).toEqual([]);
    const sums = sumsOf(compared);
    print(setup, traders, broken, sums);
    expect(sums).toMatchObject({ missed: 0, repeated: 0, gaps: 0, duplicates: 0, resets: 0 });
    // Else it was not much of a test.
    expect(sums.changes).toBeGreaterThan(0);
    const { sockets, backends, nodes: killedNodes, workers, redis: killedRedis } = broken;
    for (const count of [sockets, backends, killedNodes + workers]) {
      expect(count).toBeGreaterThan(0);
    }
    expect(killedRedis > 0).toBe(setup.hasRedis);
    for (const node of nodes) expect(await node.stop()).toEqual([0, null]);
    expect(await startProcess(environment(1), 'verify').ended).toEqual([0, null]);
  });
});

/** Clients that write and clients that read, while what they stand on is broken all the time. */
async function trade({ seconds, workers }: Setup) {
  const key = /First key\s+(\S+)/.exec(nodes[0]?.process.output.stdout ?? '')?.[1] ?? '';
  const accounts = await Promise.all(Array.from({ length: ACCOUNTS }, () => makeAccount({ sql })));
  const account = (index: number) => accounts[index % ACCOUNTS] ?? '';
  const url = () => nodes[Math.floor(Math.random() * nodes.length)]?.url ?? '';
  for (let index = 0; index < SUBSCRIBERS; index += 1) {
    // Both kinds for each account.
    const entity = Math.floor(index / ACCOUNTS) % 4 === 3 ? 'order' : 'position';
    followers.push(startFollower({ account: account(index), entity, key, url }));
  }
  const lost: unknown[] = [];
  for (const { followed } of followers) followed.ended.catch((error) => lost.push(error));
  await Promise.all(followers.map(({ followed }) => followed.ready));
  const writing = Array.from({ length: WRITERS }, (_none, index) => account(index));
  const traders = startTraders(writing, () => ({ url: url(), key }));
  onTestFinished(() => traders.abandon());
  const things = { sql, nodes, redis, followers, key, hasWorkers: workers > 1 };
  const broken = await breakThings(things, seconds * 1000);
  await traders.stop();
  return { traders, broken, lost };
}

/** What was acknowledged is there once and whole, and nothing else is. */
async function expectUnits({ opened }: Traders): Promise<void> {
  const rows = await sql<{ unit: string; positions: number; orders: number }[]>`
    select unit, count(*) filter (where part = 'position')::int as positions,
      count(*) filter (where part = 'order')::int as orders
    from (
      select strategy as unit, 'position' as part from positions
      union all select strategy, 'order' from orders
    ) as parts group by unit`;
  const stored = new Map(rows.map(({ unit, ...counts }) => [unit, counts]));
  expect([...stored.keys()].sort()).toEqual([...opened].sort());
  const whole = { positions: UNIT_POSITIONS, orders: 1 };
  for (const counts of stored.values()) expect(counts).toEqual(whole);
}

/** Once it has caught up. */
function compare(follower: Follower): Promise<Comparison & Follower['followed']['counts']> {
  return eventually(async () => {
    const comparison = await follower.compare(sql);
    expect(comparison.rows).toEqual(comparison.stored);
    expect(comparison.missed).toBe(0);
    return { ...comparison, ...follower.followed.counts };
  });
}

const SUMMED = ['changes', 'missed', 'repeated', 'gaps', 'duplicates', 'resets', 'events'] as const;

type Sums = Record<(typeof SUMMED)[number], number>;

function sumsOf(compared: readonly Awaited<ReturnType<typeof compare>>[]): Sums {
  const sums: Sums = {
    changes: 0,
    missed: 0,
    repeated: 0,
    gaps: 0,
    duplicates: 0,
    resets: 0,
    events: 0,
  };
  for (const one of compared) for (const name of SUMMED) sums[name] += one[name];
  return sums;
}

function print({ name, seconds }: Setup, traders: Traders, broken: Broken, sums: Sums): void {
  const { units, rolledBack, retries, replays } = traders.counts;
  const killed = Object.entries(broken).map(([what, count]) => `${count} ${what}`);
  process.stdout.write(
    `chaos, ${name}, ${seconds} s: killed ${killed.join(', ')}; ${units} units, ` +
      `${rolledBack} rolled back, ${retries} sent again, ${replays} answered from their key; ` +
      `${SUBSCRIBERS} readers of ${sums.changes} changes, ${sums.events} events: ` +
      `${sums.missed} missed, ${sums.repeated} repeated, ${sums.gaps} gaps, ` +
      `${sums.duplicates} duplicates, ${sums.resets} resets\n`,
  );
}
