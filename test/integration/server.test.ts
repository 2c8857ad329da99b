import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { auditServer } from 'graphql-http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { connect } from '../../datasources/postgres.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { inputOf, OPEN, UPDATE } from '../support/documents.ts';
import { eventually } from '../support/eventually.ts';
import { openItem } from '../support/make.ts';
import { startProcess, type TestProcess } from '../support/process.ts';
import { createRequest, databaseUrl, startTestServer, type TestServer } from '../support/server.ts';

describe('a running server', () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startTestServer({ withChaos: true });
  });

  afterAll(() => server.stop());

  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(`${server.url}${path}`, { headers, redirect: 'manual' });

  it('lives', async () => {
    const response = await get('/livez');
    expect([response.status, await response.text()]).toEqual([200, 'ok\n']);
  });

  it('is ready while its database answers, and not while it is silent', async () => {
    expect((await get('/readyz')).status).toBe(200);
    server.chaos?.freeze();
    expect((await get('/readyz')).status).toBe(503);
    expect((await get('/livez')).status).toBe(200);
    server.chaos?.thaw();
    await eventually(async () => expect((await get('/readyz')).status).toBe(200));
  });

  it('has nothing at other paths', async () => {
    expect((await get('/nothing')).status).toBe(404);
    expect((await get('/graphql/nothing')).status).toBe(404);
  });

  it('gives a browser GraphiQL, which loads nothing from elsewhere', async () => {
    const response = await get('/graphql', { accept: 'text/html' });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/html');
    const html = await response.text();
    expect(html).toContain('<title>Tradewind');
    // What is inside of scripts is their own.
    const markup = html.replace(/<script\b([^>]*)>[\s\S]*?<\/script>/g, '<script$1></script>');
    const loaded = markup.match(/<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[^>]*/g) ?? [];
    const elsewhere = loaded.filter((tag) => /=["']?(?:https?:|\/\/)/.test(tag));
    expect(elsewhere.map((tag) => tag.slice(0, 200))).toEqual([]);
  });

  it('keeps to GraphQL over HTTP in all that its specification demands', async () => {
    const fetchFn = (url: string, options: RequestInit = {}) =>
      fetch(url, {
        ...options,
        headers: { ...options.headers, authorization: `Bearer ${server.key}` },
      });
    const results = await auditServer({ url: `${server.url}/graphql`, fetchFn });
    const failed = results.filter((result) => result.status === 'error');
    expect(failed.map(({ id, name }) => `${id} ${name}`)).toEqual([]);
    expect(results.length).toBeGreaterThan(50);
  });
});

describe('a server that is told to end', () => {
  let database: TestDatabase;
  let home: string;
  let running: TestProcess;

  beforeEach(async () => {
    database = await createTestDatabase();
    home = await mkdtemp(join(tmpdir(), 'tw-end-'));
    running = startProcess(
      { DATABASE_URL: databaseUrl(database.target), TRADEWIND_HOME: home },
      'start',
    );
  });

  afterEach(async () => {
    running.child.kill('SIGKILL');
    await running.ended;
    await database.drop();
    await rm(home, { recursive: true, force: true });
  });

  it('finishes a mutation under way, takes nothing new and closes sockets with 1012', async () => {
    const url = await running.ready();
    const key = /First key\s+(\S+)/.exec(running.output.stdout)?.[1] ?? '';
    const request = createRequest(url, key);
    const opened = await request<{ openPositions: { results: { position: { id: string } }[] } }>(
      OPEN,
      inputOf([openItem()]),
    );
    const id = opened.data?.openPositions.results[0]?.position.id ?? '';
    const holder = connect(database.target, { statementTimeoutMs: 0, applicationName: 'test' });
    await holder`begin`;
    await holder`select id from positions for update`;
    const underWay = request<object>(UPDATE, inputOf([{ id, leverage: '5' }]));
    await eventually(async () => {
      const waiting = await holder`
        select pid from pg_stat_activity where wait_event_type = 'Lock'
          and datname = current_database()`;
      expect(waiting).toHaveLength(1);
    });
    const socket = await openSocket(url, key);
    running.child.kill('SIGTERM');
    expect(await socket.closed).toBe(1012);
    await eventually(async () => {
      const status = await fetch(`${url}/readyz`).then(
        (response) => response.status,
        () => 'refused',
      );
      expect([503, 'refused']).toContain(status);
    });
    expect(running.child.exitCode).toBeNull();
    await holder`rollback`;
    expect((await underWay).data).toMatchObject({ updatePositions: { counts: { updated: 1 } } });
    expect(await running.ended).toEqual([0, null]);
    const [row] = await holder`select trim_scale(leverage) as leverage from positions`;
    expect(row).toEqual({ leverage: '5' });
    await holder.end({ timeout: 1 });
  });
});

/** An acknowledged socket; `closed` is the code with which it ends. */
async function openSocket(url: string, key: string): Promise<{ closed: Promise<number> }> {
  const socket = new WebSocket(url.replace('http', 'ws').concat('/graphql'), [
    'graphql-transport-ws',
  ]);
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  await new Promise((resolve) => socket.once('open', resolve));
  const payload = { authorization: `Bearer ${key}` };
  socket.send(JSON.stringify({ type: 'connection_init', payload }));
  await new Promise((resolve) => socket.once('message', resolve));
  return { closed };
}

describe('a server that cannot start', () => {
  let home: string;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'tw-start-'));
  });

  afterEach(() => rm(home, { recursive: true, force: true }));

  async function failureOf(environment: Record<string, string>): Promise<string> {
    const failing = startProcess(
      // Without the words of a busy machine on slow statements.
      { LOG_LEVEL: 'error', TRADEWIND_HOME: home, ...environment },
      'start',
    );
    const end = await failing.ended;
    expect({ end, stdout: failing.output.stdout }).toEqual({ end: [1, null], stdout: '' });
    // One sentence on one line.
    expect(failing.output.stderr).toMatch(/^[^\n]+\.\n$/);
    return failing.output.stderr;
  }

  it('says which port is taken', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    // A TCP server has an address of this form.
    const { port } = taken.address() as AddressInfo;
    const database = await createTestDatabase();
    const url = databaseUrl(database.target);
    expect(await failureOf({ DATABASE_URL: url, PORT: String(port) })).toContain(
      `Port ${port} is taken`,
    );
    taken.close();
    await database.drop();
  });

  it('says that nobody answers at the address of the database', async () => {
    const failure = await failureOf({ DATABASE_URL: 'postgres://u:hidden@127.0.0.1:9/d' });
    expect(failure).toContain('127.0.0.1');
    expect(failure).not.toContain('hidden');
  });

  it('says that the password is wrong, and not which', async () => {
    const gate = await startGate();
    const failure = await failureOf({
      DATABASE_URL: `postgres://u:hidden@127.0.0.1:${gate.port}/d`,
    });
    gate.close();
    expect(failure).toMatch(/password|user|log ?in/i);
    expect(failure).not.toContain('hidden');
  });

  it('says that there is no such database', async () => {
    const database = await createTestDatabase({ migrated: false });
    const url = databaseUrl({ ...database.target, database: 'nowhere' });
    expect(await failureOf({ DATABASE_URL: url })).toContain('nowhere');
    await database.drop();
  });

  it('says who uses its data', async () => {
    const first = startProcess({ TRADEWIND_HOME: home }, 'start');
    await first.ready();
    const failure = await failureOf({});
    expect(failure).toContain(join(home, 'postgres'));
    first.child.kill('SIGTERM');
    expect(await first.ended).toEqual([0, null]);
  });

  it('says which variables are wrong', async () => {
    const failure = await failureOf({ PORT: 'http', DEADLINE_MS: '0' });
    expect(failure).toContain('PORT');
    expect(failure).toContain('DEADLINE_MS');
  });
});

/** Speaks as much of PostgreSQL's protocol as it takes to refuse a password. */
async function startGate(): Promise<{ readonly port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const gate = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('data', () => {
      socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]));
      socket.once('data', () => {
        const fields = 'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "u"\0\0';
        const message = Buffer.alloc(5 + fields.length);
        message.write('E', 0);
        message.writeInt32BE(4 + fields.length, 1);
        message.write(fields, 5);
        socket.end(message);
      });
    });
  });
  await new Promise<void>((resolve) => gate.listen(0, '127.0.0.1', resolve));
  return {
    // A TCP server has an address of this form.
    port: (gate.address() as AddressInfo).port,
    close() {
      for (const socket of sockets) socket.destroy();
      gate.close();
    },
  };
}
