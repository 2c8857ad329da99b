import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connect } from '../../datasources/postgres.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { OPEN, type Batch, type PositionResult } from '../support/documents.ts';
import { eventually } from '../support/eventually.ts';
import { type Follower, startFollower } from '../support/followers.ts';
import { many, openItem } from '../support/make.ts';
import { startProcess, type TestProcess } from '../support/process.ts';
import { databaseUrl, untilBlocked } from '../support/server.ts';
import { makeAccount } from '../support/trading.ts';
import { connectToEach, type WorkerClient } from '../support/worker-client.ts';

const WORKERS = 2;
/** Of a key; each worker alone has fewer. */
const SOCKETS_MAX = 12;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** On a port that is free, which it returns. */
function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Whether its first connection is closed for now, and not served. */
async function isRefused({ followed, closes }: Follower): Promise<boolean> {
  let isServed = false;
  void followed.ready.then(() => {
    isServed = true;
  });
  await eventually(() => expect(isServed || closes.length > 0).toBe(true));
  return closes.includes(1013);
}

/** Opens positions; the token of the commit. */
async function write(client: WorkerClient, account: string, count = 1): Promise<string> {
  type Data = { readonly openPositions: Batch<PositionResult> };
  const input = { account, items: many(count, () => openItem()) };
  const { errors, extensions } = await client.request<Data>(OPEN, { input });
  const seq = extensions.commit?.[0]?.seq;
  if (seq === undefined) throw new Error(JSON.stringify(errors));
  return `${account}:${seq}`;
}

const COUNT = 'query ($account: ID!) { positions(account: $account) { totalCount } }';
type Count = { readonly positions: { readonly totalCount: number } };

describe('two workers without Redis', () => {
  let database: TestDatabase;
  let home: string;
  let sql: postgres.Sql;
  let server: TestProcess;
  let url: string;
  let key: string;
  let account: string;
  let clients: readonly WorkerClient[] = [];
  const followers: Follower[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    home = await mkdtemp(join(tmpdir(), 'tw-workers-'));
    sql = connect(database.target, { statementTimeoutMs: 0, applicationName: 'test' });
    const environment = {
      DATABASE_URL: databaseUrl(database.target),
      TRADEWIND_HOME: home,
      WORKERS: String(WORKERS),
      LOG_LEVEL: 'fatal',
      SOCKETS_PER_KEY_MAX: String(SOCKETS_MAX),
    };
    server = startProcess(environment, 'start');
    url = await server.ready();
    key = /First key\s+(\S+)/.exec(server.output.stdout)?.[1] ?? '';
  });

  beforeEach(async () => {
    account = await makeAccount({ sql });
    // One that was killed is replaced some time later.
    clients = await eventually(() => connectToEach(url, key, WORKERS));
  });

  afterEach(async () => {
    for (const follower of followers.splice(0)) follower.stop();
    for (const client of clients) client.close();
  });

  afterAll(async () => {
    server.child.kill('SIGKILL');
    await server.ended;
    await sql.end({ timeout: 1 });
    await database.drop();
    await rm(home, { recursive: true, force: true });
  });

  const each = (index: number): WorkerClient => {
    const client = clients[index];
    if (client === undefined) throw new Error(`there is no worker ${index}`);
    return client;
  };

  /** Screens, of which both workers have some. */
  async function follow(count: number): Promise<readonly Follower[]> {
    const started = Array.from({ length: count }, () =>
      startFollower({ account, entity: 'position', key, url: () => url }),
    );
    followers.push(...started);
    await Promise.all(started.map(({ followed }) => followed.ready));
    return started;
  }

  async function expectComplete(): Promise<void> {
    await eventually(async () => {
      for (const follower of followers) {
        const { rows, stored, missed, repeated } = await follower.compare(sql);
        expect(rows).toEqual(stored);
        expect([missed, repeated]).toEqual([0, 0]);
      }
    });
    const none = { gaps: 0, duplicates: 0, resets: 0 };
    for (const { followed } of followers) expect(followed.counts).toMatchObject(none);
  }

  it('say what runs where', () => {
    expect(server.output.stdout).toContain('Workers     2 processes');
    expect(clients.map(({ pid }) => pid)).not.toContain(server.child.pid);
  });

  it('stream what is written to any of them', async () => {
    await follow(8);
    for (let round = 0; round < 10; round += 1) await write(each(round % WORKERS), account, 3);
    await expectComplete();
  });

  it('give nothing older than what another one has committed, when asked', async () => {
    for (let round = 1; round <= 20; round += 1) {
      const [here, there] = [each(round % WORKERS), each((round + 1) % WORKERS)];
      const commit = await write(here, account);
      const options = { headers: { 'x-min-commit': commit } };
      const { data } = await there.request<Count>(COUNT, { account }, options);
      expect(data?.positions.totalCount).toBe(round);
    }
  });

  it('drop what they keep when another one has written', async () => {
    const [here, there] = [each(0), each(1)];
    const count = async () =>
      (await there.request<Count>(COUNT, { account })).data?.positions.totalCount;
    for (let round = 1; round <= 5; round += 1) {
      await write(here, account);
      await eventually(async () => expect(await count()).toBe(round));
      // It is kept from here on.
      await count();
    }
  });

  it('refuse a key that was revoked at another one', async () => {
    const CREATE = `mutation {
      createApiKey(input: { name: "short", role: VIEWER, accounts: ["main"] }) { id secret } }`;
    type Created = { readonly createApiKey: { readonly id: string; readonly secret: string } };
    const { data, errors } = await each(0).request<Created>(CREATE);
    if (data === null) throw new Error(JSON.stringify(errors));
    const { id, secret } = data.createApiKey;
    const codeOf = async (client: WorkerClient) =>
      (await client.request('{ viewer { actor } }', {}, { key: secret })).errors[0]?.extensions
        .code;
    await eventually(async () => expect(await codeOf(each(1))).toBeUndefined());
    await each(0).request('mutation ($id: ID!) { revokeApiKey(id: $id) }', { id });
    expect(await codeOf(each(0))).toBe('UNAUTHENTICATED');
    await eventually(async () => expect(await codeOf(each(1))).toBe('UNAUTHENTICATED'));
  });

  it('count the sockets of a key together', async () => {
    await follow(SOCKETS_MAX);
    // What one worker has opened the other one knows a moment later.
    const refused = await eventually(async () => {
      const another = startFollower({ account, entity: 'position', key, url: () => url });
      followers.push(another);
      if (await isRefused(another)) return another;
      another.stop();
      throw new Error('there was room for it');
    });
    followers[0]?.followed.stop();
    await refused.followed.ready;
  });

  it('are replaced when they are killed, and their readers go on', async () => {
    await follow(8);
    const [here, there] = [each(0), each(1)];
    await write(there, account, 3);
    process.kill(here.pid, 'SIGKILL');
    for (let round = 0; round < 10; round += 1) await write(there, account, 3);
    const replaced = await eventually(() => connectToEach(url, key, WORKERS));
    expect(replaced.map(({ pid }) => pid)).not.toContain(here.pid);
    for (const client of replaced) {
      await write(client, account, 3);
      client.close();
    }
    await expectComplete();
    expect(server.child.exitCode).toBeNull();
  });

  it('leave no connection to one that hangs, nor to one that is killed then', async () => {
    const [here, there] = [each(0), each(1)];
    process.kill(here.pid, 'SIGSTOP');
    const opened = await Promise.all(Array.from({ length: 10 }, () => connectToEach(url, key, 1)));
    process.kill(here.pid, 'SIGKILL');
    const pids = opened.flat().map(({ pid }) => pid);
    expect(new Set(pids)).toEqual(new Set([there.pid]));
    for (const client of opened.flat()) client.close();
  });

  it('end together, after what is under way', async () => {
    await follow(4);
    const pids = clients.map(({ pid }) => pid);
    const holder = connect(database.target, { statementTimeoutMs: 0, applicationName: 'test' });
    await holder.unsafe('begin');
    await holder`select from account_heads where account_id = ${account} for update`;
    const writing = clients.map((client) => write(client, account));
    const written = Promise.all(writing);
    written.catch(() => {});
    await untilBlocked(sql, WORKERS);
    server.child.kill('SIGTERM');
    await eventually(() => {
      for (const { closes } of followers) expect(closes).toContain(1012);
    });
    await holder.unsafe('commit');
    await holder.end();
    expect(await written).toHaveLength(WORKERS);
    expect(await server.ended).toEqual([0, null]);
    expect(pids.filter(isAlive)).toEqual([]);
  });
});

describe('workers over the embedded database', () => {
  let home: string;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'tw-workers-'));
  });

  afterEach(() => rm(home, { recursive: true, force: true, maxRetries: 100, retryDelay: 100 }));

  it('share it, and it ends after them', async () => {
    const server = startProcess({ TRADEWIND_HOME: home, WORKERS: '2' }, 'start');
    const url = await server.ready();
    const key = (await readFile(join(home, 'admin-key'), 'utf8')).trim();
    const clients = await connectToEach(url, key, 2);
    for (const client of clients) {
      await write(client, 'main');
      client.close();
    }
    const database = Number.parseInt(
      await readFile(join(home, 'postgres', 'postmaster.pid'), 'utf8'),
      10,
    );
    server.child.kill('SIGTERM');
    expect(await server.ended).toEqual([0, null]);
    expect([database, ...clients.map(({ pid }) => pid)].filter(isAlive)).toEqual([]);
  });

  it('end with the process that keeps them, and it starts again on what they leave', async () => {
    const port = String(await freePort());
    const environment = { TRADEWIND_HOME: home, WORKERS: '2', PORT: port };
    const killed = startProcess(environment, 'start');
    const key = /First key\s+(\S+)/;
    const url = await killed.ready();
    const [token = ''] = key.exec(killed.output.stdout)?.slice(1) ?? [];
    const clients = await connectToEach(url, token, 2);
    const commits = await Promise.all(clients.map((client) => write(client, 'main')));
    killed.child.kill('SIGKILL');
    await killed.ended;
    await eventually(() => expect(clients.filter(({ pid }) => isAlive(pid))).toEqual([]));
    const again = startProcess(environment, 'start');
    const [client] = await connectToEach(await again.ready(), token, 2);
    const options = { headers: { 'x-min-commit': commits.join(', ') } };
    const answer = await client?.request<Count>(COUNT, { account: 'main' }, options);
    expect(answer?.data?.positions.totalCount).toBe(2);
    again.child.kill('SIGTERM');
    expect(await again.ended).toEqual([0, null]);
    expect(again.output.stdout).not.toMatch(key);
  });

  it('say in one sentence that the port is taken, and leave nothing running', async () => {
    const taken = createServer();
    const port = await listen(taken);
    const environment = { TRADEWIND_HOME: home, WORKERS: '2', PORT: String(port) };
    const server = startProcess({ ...environment, LOG_LEVEL: 'silent' }, 'start');
    expect(await server.ended).toEqual([1, null]);
    expect(server.output.stderr).toBe(
      `Port ${port} is taken on 127.0.0.1: stop what listens there, or set PORT to another one.\n`,
    );
    taken.close();
  });

  it('say in one sentence that there is no room for their connections', async () => {
    const environment = { TRADEWIND_HOME: home, WORKERS: '4', TRADING_SLOTS: '12' };
    const server = startProcess(environment, 'start');
    expect(await server.ended).toEqual([1, null]);
    expect(server.output.stderr).toMatch(/^The lanes have \d+ connections together: at most 50/);
  });
});
