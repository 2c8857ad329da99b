import { setTimeout as delay } from 'node:timers/promises';
import type postgres from 'postgres';
import type { Follower } from './followers.ts';
import type { NodeProcess } from './node-process.ts';
import type { TestRedis } from './redis.ts';
import { createRequest } from './server.ts';

/** What is broken all the time. */
export interface Breakable {
  readonly sql: postgres.Sql;
  readonly nodes: readonly NodeProcess[];
  /** Null: there is none. */
  readonly redis: TestRedis | null;
  readonly followers: readonly Follower[];
  readonly key: string;
  /** Of the workers of a node one is killed more often than the node itself. */
  readonly hasWorkers: boolean;
}

/** How often something was killed. */
export type Broken = Record<'sockets' | 'backends' | 'nodes' | 'workers' | 'redis', number>;

const BACKENDS_EVERY_MS = 500;
const NODE_EVERY_MS = 3000;
const REDIS_EVERY_MS = 2500;
const REDIS_AWAY_MS = 1500;

/** Resolves when the time is over and everything runs again. */
export async function breakThings(things: Breakable, ms: number): Promise<Broken> {
  const broken: Broken = { sockets: 0, backends: 0, nodes: 0, workers: 0, redis: 0 };
  const endAt = performance.now() + ms;
  const repeat = async (waitMs: () => number, work: () => Promise<void>) => {
    // Nothing is begun that would be cut short by the end.
    for (let wait = waitMs(); performance.now() + wait < endAt; wait = waitMs()) {
      await delay(wait);
      await work();
    }
  };
  const cutting = things.followers.map((follower) =>
    repeat(
      () => 1000 + Math.random() * 4000,
      async () => {
        broken.sockets += follower.cut();
      },
    ),
  );
  let turn = 0;
  await Promise.all([
    ...cutting,
    repeat(
      () => BACKENDS_EVERY_MS,
      async () => {
        broken.backends += await killBackends(things.sql);
      },
    ),
    repeat(
      () => NODE_EVERY_MS,
      async () => {
        turn += 1;
        await killNode(things, turn, broken);
      },
    ),
    repeat(
      () => REDIS_EVERY_MS,
      async () => {
        await bounce(things.redis, broken);
      },
    ),
  ]);
  return broken;
}

async function killBackends(sql: postgres.Sql): Promise<number> {
  const killed = await sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name like 'tradewind%'
    order by random() limit 2`;
  return killed.length;
}

async function killNode(things: Breakable, turn: number, broken: Broken): Promise<void> {
  const node = things.nodes[turn % things.nodes.length];
  if (node === undefined) return;
  if (things.hasWorkers && turn % 3 !== 2) {
    broken.workers += await killWorker(node.url, things.key);
    return;
  }
  await node.killAndRestart();
  broken.nodes += 1;
}

/** Whichever answers. */
async function killWorker(url: string, key: string): Promise<number> {
  const request = createRequest(url, key);
  type Data = { readonly health: { readonly node: string } };
  const answer = await request<Data>('{ health { node } }').catch(() => null);
  const pid = Number(answer?.data?.health.node.split(':').at(-1));
  // It may have been ended by what was broken before.
  if (Number.isNaN(pid) || !kill(pid)) return 0;
  return 1;
}

function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}

async function bounce(redis: TestRedis | null, broken: Broken): Promise<void> {
  if (redis === null) return;
  await redis.kill();
  await delay(REDIS_AWAY_MS);
  await redis.restart();
  broken.redis += 1;
}
