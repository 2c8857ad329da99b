import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { openEventStream } from '../support/event-stream.ts';
import { eventually } from '../support/eventually.ts';
import { type Answer, startTestServer, type TestServer } from '../support/server.ts';
import { connectSocket, openSocket, type TestSocket } from '../support/socket.ts';

let server: TestServer;
const sockets: TestSocket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.close();
  await server.stop();
});

async function start(environment: Readonly<Record<string, string>>): Promise<void> {
  server = await startTestServer({ environment });
}

async function connect(key?: string): Promise<TestSocket> {
  const socket = await connectSocket(server, key);
  sockets.push(socket);
  return socket;
}

const VIEWER = '{ viewer { role } }';
const PAGE = '{ orders(account: "main", first: 500) { nodes { id } } }';
const STREAM = 'subscription { positionChanges(account: "main") { kind } }';

/** That says when to come again, in both ways. */
function assertLimited({ status, headers, errors }: Answer<unknown>): void {
  expect(status).toBe(429);
  const [error] = errors;
  expect(error?.extensions).toMatchObject({
    code: 'RATE_LIMITED',
    retryable: true,
    executed: 'NO',
    retryAfterMs: expect.any(Number),
  });
  const retryAfterMs = Number(error?.extensions.retryAfterMs);
  expect(Number(headers.get('retry-after'))).toBe(Math.ceil(retryAfterMs / 1000));
}

describe('a key that has spent its units', () => {
  // Next to nothing comes back while a test runs.
  const SPENT = { RATE_LIMIT_PER_SECOND: '1', RATE_LIMIT_BURST: '500' };

  it('is refused before its request is read, over HTTP and over a socket', async () => {
    await start(SPENT);
    const socket = await connect();
    expect((await server.request(PAGE)).errors).toEqual([]);
    assertLimited(await server.request(VIEWER));
    assertLimited(await server.request('{ this is no GraphQL'));
    socket.send({ type: 'subscribe', id: '1', payload: { query: '{ this is no GraphQL' } });
    const { type, payload } = await socket.next('1');
    expect(type).toBe('error');
    expect(payload).toMatchObject([{ extensions: { code: 'RATE_LIMITED', executed: 'NO' } }]);
    expect(socket.isOpen).toBe(true);
  });

  it('hears so though it sends a long body', async () => {
    await start(SPENT);
    await server.request(PAGE);
    assertLimited(await server.request(VIEWER, { padding: 'x'.repeat(3_000_000) }));
  });

  it('is one of many: another one is answered', async () => {
    await start({ ...SPENT, RATE_LIMIT_BURST: '600' });
    const { token: key } = await server.issueKey('VIEWER', ['main']);
    await server.request(PAGE, {}, { key });
    assertLimited(
      await server.request(PAGE, {}, { key }).then(() => server.request(VIEWER, {}, { key })),
    );
    expect((await server.request(VIEWER)).errors).toEqual([]);
  });

  it('has paid for the items that it wrote, too', async () => {
    await start(SPENT);
    const items = Array.from({ length: 500 }, (_none, place) => ({ key: `k${place}`, value: 1 }));
    const put = `mutation ($input: PutSettingsInput!) {
      putSettings(input: $input) { __typename } }`;
    expect((await server.request(put, { input: { account: 'main', items } })).errors).toEqual([]);
    assertLimited(await server.request(VIEWER));
  });
});

describe('the operations of a key that are under way', () => {
  it('are bounded, whatever they came by, and are counted until they are answered', async () => {
    await start({ OPERATIONS_PER_KEY_MAX: '2' });
    const locker = server.connect();
    await locker.unsafe('begin');
    await locker.unsafe('lock table orders in access exclusive mode');
    const socket = await connect();
    socket.send({ type: 'subscribe', id: '1', payload: { query: PAGE } });
    const pending = server.request(PAGE);
    await server.untilBlocked(2);
    assertLimited(await server.request(VIEWER));
    socket.send({ type: 'subscribe', id: '2', payload: { query: VIEWER } });
    expect(await socket.next('2')).toMatchObject({
      payload: [{ extensions: { code: 'RATE_LIMITED' } }],
    });
    await locker.unsafe('rollback');
    expect((await pending).errors).toEqual([]);
    expect((await socket.next('1')).type).toBe('next');
    await eventually(async () => {
      expect((await server.request(VIEWER)).status).toBe(200);
    });
  });

  it('are not its streams', async () => {
    await start({ OPERATIONS_PER_KEY_MAX: '1' });
    const socket = await connect();
    for (const id of ['1', '2']) {
      socket.send({ type: 'subscribe', id, payload: { query: STREAM } });
      expect((await socket.next(id)).type).toBe('next');
    }
    const streams = [await openEventStream(server, STREAM), await openEventStream(server, STREAM)];
    for (const stream of streams) await stream.read('CAUGHT_UP');
    expect((await server.request(VIEWER)).errors).toEqual([]);
    for (const stream of streams) stream.close();
  });

  it('do not leak where a request is refused', async () => {
    await start({ OPERATIONS_PER_KEY_MAX: '1' });
    const socket = await connect();
    for (const query of [
      '{',
      '{ nothing }',
      VIEWER,
      'query a { viewer { role } } query b { viewer { role } }',
    ]) {
      await eventually(async () => {
        expect((await server.request(query)).status).not.toBe(429);
      });
      socket.send({ type: 'subscribe', id: 'x', payload: { query } });
      const [first] = [await socket.next('x')];
      expect(JSON.stringify(first.payload)).not.toContain('RATE_LIMITED');
      if (first.type === 'next') await socket.next('x');
    }
  });
});

describe('the sockets of a key', () => {
  it('are bounded with its SSE streams: one more is closed with 1013', async () => {
    await start({ SOCKETS_PER_KEY_MAX: '2' });
    const first = await connect();
    const stream = await openEventStream(server, STREAM);
    expect(await stream.read('CAUGHT_UP')).toContain('CAUGHT_UP');
    const socket = await openSocket(server);
    socket.send({ type: 'connection_init', payload: { authorization: `Bearer ${server.key}` } });
    expect((await socket.closed).code).toBe(1013);
    expect(await (await openEventStream(server, STREAM)).read('data:')).toContain('RATE_LIMITED');
    const { token } = await server.issueKey('VIEWER', ['main']);
    await connect(token);
    first.close();
    await eventually(() => connect());
    stream.close();
    await eventually(() => connect());
  });
});

it('refuses to upgrade more sockets than all keys together may have', async () => {
  await start({ SOCKETS_MAX: '2' });
  const first = await connect();
  await connect();
  await expect(openSocket(server)).rejects.toThrow('503');
  expect(await (await openEventStream(server, STREAM)).read('data:')).toContain('OVERLOADED');
  first.close();
  await eventually(() => connect());
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/graphql`, ['other']);
  await new Promise((resolve) => socket.once('error', resolve));
});
