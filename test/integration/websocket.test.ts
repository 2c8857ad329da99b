import { createClient } from 'graphql-ws';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { inputOf, OPEN, openOne } from '../support/documents.ts';
import { eventually } from '../support/eventually.ts';
import { openItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { connectSocket, type Message, openSocket, type TestSocket } from '../support/socket.ts';

let server: TestServer;
const sockets: TestSocket[] = [];

beforeAll(async () => {
  server = await startTestServer();
});

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

afterAll(() => server.stop());

async function connect(key?: string): Promise<TestSocket> {
  const socket = await connectSocket(server, key);
  sockets.push(socket);
  return socket;
}

const VIEWER = '{ viewer { role } }';
const STREAM = 'subscription { positionChanges(account: "main") { kind position { symbol } } }';

/** The messages of one operation until it is complete. */
async function run(socket: TestSocket, id: string, payload: object): Promise<readonly Message[]> {
  socket.send({ type: 'subscribe', id, payload });
  const messages: Message[] = [];
  while (messages.at(-1)?.type !== 'complete' && messages.at(-1)?.type !== 'error') {
    messages.push(await socket.next(id));
  }
  return messages;
}

describe('a socket', () => {
  it.each([
    [
      'a wrong key',
      { authorization: 'Bearer tw_AAAAAAAAAAAA_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB' },
    ],
    ['no key', {}],
    ['nothing', undefined],
  ])('that says %s is closed with 4401', async (_what, payload) => {
    const socket = await openSocket(server);
    socket.send({ type: 'connection_init', payload });
    expect((await socket.closed).code).toBe(4401);
  });

  it('that starts without saying who it is is closed with 4401', async () => {
    const socket = await openSocket(server);
    socket.send({ type: 'subscribe', id: '1', payload: { query: VIEWER } });
    expect((await socket.closed).code).toBe(4401);
  });

  it('takes the key from a header editor too', async () => {
    const socket = await openSocket(server);
    sockets.push(socket);
    const payload = { headers: { Authorization: `Bearer ${server.key}` } };
    socket.send({ type: 'connection_init', payload });
    expect((await socket.next()).type).toBe('connection_ack');
  });

  it('answers queries', async () => {
    const socket = await connect();
    expect(await run(socket, '1', { query: VIEWER })).toEqual([
      { type: 'next', id: '1', payload: { data: { viewer: { role: 'ADMIN' } } } },
      { type: 'complete', id: '1' },
    ]);
  });

  it('carries out mutations, once for each idempotency key', async () => {
    const socket = await connect();
    const payload = {
      query: OPEN,
      variables: inputOf([openItem()]),
      extensions: { idempotencyKey: 'socket-1' },
    };
    const [first] = await run(socket, '1', payload);
    const [again] = await run(socket, '2', payload);
    expect(first?.payload).toMatchObject({ data: { openPositions: { counts: { created: 1 } } } });
    const answered = first?.payload as { readonly data: object } | undefined;
    expect(again?.payload).toMatchObject({ data: answered?.data, extensions: { replayed: true } });
  });

  it('stays open with its streams when one of its operations cannot be parsed', async () => {
    const socket = await connect();
    socket.send({ type: 'subscribe', id: 'stream', payload: { query: STREAM } });
    expect(await socket.next('stream')).toMatchObject({
      payload: { data: { positionChanges: { kind: 'CAUGHT_UP' } } },
    });
    const bad = [
      ['syntax', { query: 'mutation {' }, 'GRAPHQL_PARSE_FAILED'],
      ['field', { query: '{ nothing }' }, 'GRAPHQL_VALIDATION_FAILED'],
      ['name', { query: `query a ${VIEWER} query b ${VIEWER}` }, 'GRAPHQL_VALIDATION_FAILED'],
      ['variables', { query: OPEN, variables: { input: 1 } }, 'BAD_INPUT'],
    ] as const;
    for (const [id, payload, code] of bad) {
      const [message] = await run(socket, id, payload);
      const errors = errorsOf(message);
      expect([id, errors[0]?.extensions]).toMatchObject([id, { code, executed: 'NO' }]);
    }
    const { symbol } = await openOne(server, openItem());
    expect(await socket.next('stream')).toMatchObject({
      payload: { data: { positionChanges: { kind: 'CHANGE', position: { symbol } } } },
    });
    expect(socket.isOpen).toBe(true);
  });

  it.each<[string, string, object]>([
    ['is refused', OPEN, inputOf([openItem({ quantity: '-1' })])],
    ['names no account', OPEN, { input: { items: [openItem()] } }],
    ['has bad variables', OPEN, inputOf([openItem({ quantity: 0.1 })])],
    ['cannot be parsed', 'query {', {}],
    ['asks for nothing there is', '{ nothing }', {}],
    [
      'is too deep',
      `{ __type(name: "A") { ${'ofType { '.repeat(30)} name ${'} '.repeat(31)} }`,
      {},
    ],
  ])('has the errors that HTTP has for an operation that %s', async (_what, query, variables) => {
    const socket = await connect();
    const [message] = await run(socket, '1', { query, variables });
    const { errors } = await server.request(query, variables);
    expect(errors.length).toBeGreaterThan(0);
    expect(withoutRequestIds(errorsOf(message))).toEqual(withoutRequestIds(errors));
  });

  it('is closed when a frame is above 64 KiB, and takes one of 64 KiB', async () => {
    const socket = await connect();
    const frame = (bytes: number): Message => {
      const payload = { query: VIEWER, extensions: { padding: '' } };
      const message = { type: 'subscribe', id: '1', payload };
      const missing = bytes - JSON.stringify(message).length;
      return { ...message, payload: { ...payload, extensions: { padding: 'x'.repeat(missing) } } };
    };
    socket.send(frame(65_536));
    expect((await socket.next('1')).type).toBe('next');
    expect((await socket.next('1')).type).toBe('complete');
    socket.send(frame(65_537));
    expect((await socket.closed).code).toBe(1009);
  });

  it('carries 100 operations and refuses the next', async () => {
    const socket = await connect();
    const ids = Array.from({ length: 100 }, (_none, index) => String(index));
    for (const id of ids) socket.send({ type: 'subscribe', id, payload: { query: STREAM } });
    for (const id of ids) expect((await socket.next(id)).type).toBe('next');
    const [message] = await run(socket, 'one more', { query: VIEWER });
    expect(errorsOf(message)[0]?.extensions).toMatchObject({
      code: 'RATE_LIMITED',
      retryable: true,
      executed: 'NO',
    });
    expect(socket.isOpen).toBe(true);
  });

  it('is closed with 4403 when its key is revoked', async () => {
    const { token, id } = await server.issueKey('BOT', ['main']);
    const socket = await connect(token);
    socket.send({ type: 'subscribe', id: 'stream', payload: { query: STREAM } });
    expect((await socket.next('stream')).type).toBe('next');
    await server.sql`update api_keys set revoked_at = now() where id = ${id}`;
    expect((await socket.closed).code).toBe(4403);
    const { errors } = await server.request(VIEWER, {}, { key: token });
    expect(errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
  });
});

describe('an upgrade', () => {
  it.each(['https://elsewhere.example', 'http://127.0.0.1:1', 'null'])(
    'from the origin %s is refused',
    async (origin) => {
      await expect(openSocket(server, { origin })).rejects.toThrow('403');
    },
  );

  it('from a page of its own is accepted', async () => {
    const socket = await openSocket(server, { origin: server.url });
    sockets.push(socket);
    expect(socket.isOpen).toBe(true);
  });

  it('at another path is refused', async () => {
    await expect(openSocket(server, {}, '/other')).rejects.toThrow('404');
  });
});

it('serves the stock client', async () => {
  const client = createClient({
    url: `${server.url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${server.key}` },
  });
  const events: unknown[] = [];
  const stream = client.iterate({ query: STREAM });
  events.push((await stream.next()).value);
  const { symbol } = await openOne(server, openItem());
  events.push((await stream.next()).value);
  expect(events).toEqual([
    { data: { positionChanges: { kind: 'CAUGHT_UP', position: null } } },
    { data: { positionChanges: { kind: 'CHANGE', position: { symbol } } } },
  ]);
  await client.dispose();
  await eventually(async () => {
    expect((await stream.next()).done).toBe(true);
  });
});

interface PublicError {
  readonly message: string;
  readonly extensions: Readonly<Record<string, unknown>>;
}

/** Errors before the execution are the message's payload, later ones stand in the result. */
function errorsOf(message: Message | undefined): readonly PublicError[] {
  const payload = message?.payload as PublicError[] | { errors?: PublicError[] } | undefined;
  return Array.isArray(payload) ? payload : (payload?.errors ?? []);
}

function withoutRequestIds(errors: readonly PublicError[]): unknown {
  return errors.map((error) => {
    const { requestId, ...extensions } = error.extensions;
    expect(requestId).toMatch(/^[\w-]{36}$/);
    return { ...error, extensions };
  });
}
