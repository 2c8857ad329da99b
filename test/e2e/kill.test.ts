import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startProcess, type TestProcess } from '../support/process.ts';
import { type Answer, createRequest } from '../support/server.ts';
import { type Address, OPERATION_ITEMS, startWriters } from '../support/writers.ts';

const KILLS = 2;
const WRITERS = 4;
const ACKNOWLEDGED_BETWEEN_KILLS = 40;

let home: string;
let server: TestProcess;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'tw-kill-'));
});

afterAll(async () => {
  server.child.kill('SIGKILL');
  await server.ended;
  // The database of a killed server ends a moment after it.
  await rm(home, { recursive: true, force: true, maxRetries: 100, retryDelay: 100 });
});

async function start(): Promise<Address> {
  server = startProcess({ TRADEWIND_HOME: home }, 'start');
  const url = await server.ready();
  const key = await readFile(join(home, 'admin-key'), 'utf8');
  return { url, key: key.trim() };
}

/** Ends the server and its PostgreSQL as a power cut would. */
async function kill(): Promise<void> {
  const lines = await readFile(join(home, 'postgres', 'postmaster.pid'), 'utf8');
  process.kill(Number.parseInt(lines, 10), 'SIGKILL');
  server.child.kill('SIGKILL');
  await server.ended;
}

it('has each operation once when server and database are killed', {
  timeout: 180_000,
}, async () => {
  let address = await start();
  const writers = startWriters(WRITERS, () => address);
  for (let kills = 0; kills < KILLS; kills += 1) {
    const until = writers.acknowledged.size + ACKNOWLEDGED_BETWEEN_KILLS;
    while (writers.acknowledged.size < until) await writers.progress();
    await kill();
    address = await start();
  }
  await writers.progress();
  await writers.stop();

  expect(writers.failures).toEqual([]);
  expect(writers.retries).toBeGreaterThan(0);
  const { replays } = writers;
  // Their keys are as durable as what they did.
  await writers.repeatAll();
  const acknowledged = [...writers.acknowledged.keys()].sort();
  for (const field of ['positions', 'predictions'] as const) {
    const counts = await countByOperation(address, field);
    expect([...counts.keys()].sort()).toEqual(acknowledged);
    expect([...counts.values()].filter((count) => count !== OPERATION_ITEMS)).toEqual([]);
  }
  process.stdout.write(
    `kill: ${KILLS} kills of server and database, ${acknowledged.length} operations, ` +
      `${writers.retries} sent again, ${replays} answered from their key\n`,
  );

  server.child.kill('SIGTERM');
  expect(await server.ended).toEqual([0, null]);
  const verify = startProcess({ TRADEWIND_HOME: home }, 'verify');
  expect(await verify.ended).toEqual([0, null]);
});

interface Page {
  readonly page: {
    readonly nodes: readonly { readonly operation: string }[];
    readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
  };
}

/** How many rows each operation has, read page by page as a client would. */
async function countByOperation(
  { url, key }: Address,
  field: 'positions' | 'predictions',
): Promise<ReadonlyMap<string, number>> {
  const name = field === 'positions' ? 'strategy' : 'modelVersion';
  const document = `query ($after: String) {
    page: ${field}(account: "main", first: 500, after: $after) {
      nodes { operation: ${name} }
      pageInfo { hasNextPage endCursor }
    }
  }`;
  const request = createRequest(url, key);
  const counts = new Map<string, number>();
  let after: string | null = null;
  while (true) {
    const answer: Answer<Page> = await request<Page>(document, { after });
    const { data } = answer;
    if (data === null) throw new Error(answer.text);
    for (const { operation } of data.page.nodes) {
      counts.set(operation, (counts.get(operation) ?? 0) + 1);
    }
    if (!data.page.pageInfo.hasNextPage) return counts;
    after = data.page.pageInfo.endCursor;
  }
}
