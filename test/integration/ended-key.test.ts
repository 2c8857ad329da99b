import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { inputOf, OPEN } from '../support/documents.ts';
import { openEventStream } from '../support/event-stream.ts';
import { eventually } from '../support/eventually.ts';
import { openItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { connectSocket, type TestSocket } from '../support/socket.ts';

/** What a key may that was somebody's a moment ago, over what it opened before. */

let server: TestServer;
const sockets: TestSocket[] = [];

beforeAll(async () => {
  // Streams that only looked after themselves would notice after ten seconds.
  server = await startTestServer({ environment: { HEARTBEAT_MS: '600000' } });
});

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

afterAll(() => server.stop());

const STREAM = 'subscription { positionChanges(account: "main") { kind } }';
const VIEWER = '{ viewer { role } }';

async function connect(key: string): Promise<TestSocket> {
  const socket = await connectSocket(server, key);
  sockets.push(socket);
  return socket;
}

async function createKey(expiresAt: string | null): Promise<{ id: string; secret: string }> {
  const data = await server.data<{ createApiKey: { id: string; secret: string } }>(
    `mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { id secret } }`,
    { input: { name: 'test', role: 'BOT', accounts: ['main'], expiresAt } },
  );
  return data.createApiKey;
}

const revoke = (id: string) => server.data('mutation ($id: ID!) { revokeApiKey(id: $id) }', { id });

/** Sends a mutation over it. @returns what it was closed with; nothing was stored */
async function writeOver(socket: TestSocket): Promise<number> {
  const before = await server.inventory();
  const payload = { query: OPEN, variables: inputOf([openItem()]) };
  socket.send({ type: 'subscribe', id: 'write', payload });
  const { code } = await socket.closed;
  expect(await server.inventory()).toEqual(before);
  return code;
}

describe('a key that is revoked here', () => {
  it('writes nothing more over an open socket, which is closed with 4403', async () => {
    const { id, secret } = await createKey(null);
    const socket = await connect(secret);
    socket.send({ type: 'subscribe', id: 'stream', payload: { query: STREAM } });
    await socket.next('stream');
    await revoke(id);
    expect(await writeOver(socket)).toBe(4403);
  });

  it('ends its streams over SSE, which say why', async () => {
    const { id, secret } = await createKey(null);
    const stream = await openEventStream(server, STREAM, secret);
    await stream.read('CAUGHT_UP');
    const other = await openEventStream(server, STREAM);
    await other.read('CAUGHT_UP');
    await revoke(id);
    const text = await stream.read('event: complete');
    expect(text).toContain('"code":"UNAUTHENTICATED"');
    expect(text).toContain('event: complete');
    // Others go on.
    await server.data(OPEN, inputOf([openItem()]));
    expect(await other.read('CHANGE')).toContain('CHANGE');
    other.close();
  });

  it('leaves the sockets of other keys alone', async () => {
    const { id } = await createKey(null);
    const socket = await connect(server.key);
    await revoke(id);
    socket.send({ type: 'subscribe', id: '1', payload: { query: VIEWER } });
    expect((await socket.next('1')).type).toBe('next');
  });
});

it('refuses what a key sends over its socket after it has expired', async () => {
  const { secret } = await createKey(new Date(Date.now() + 1000).toISOString());
  const socket = await connect(secret);
  await eventually(async () => {
    expect((await server.request(VIEWER, {}, { key: secret })).status).toBe(401);
  });
  expect(await writeOver(socket)).toBe(4403);
});

it('ends the streams of a key that was revoked elsewhere, over SSE too', async () => {
  const { id, secret } = await createKey(null);
  const socket = await connect(secret);
  const stream = await openEventStream(server, STREAM, secret);
  await stream.read('CAUGHT_UP');
  await server.sql`update api_keys set revoked_at = now() where id = ${id}`;
  expect((await socket.closed).code).toBe(4403);
  expect(await stream.read('event: complete')).toContain('"code":"UNAUTHENTICATED"');
});
