import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { createApiClient } from '../../../../cli/demo/client.ts';

interface Received {
  readonly key: string | undefined;
  readonly authorization: string | undefined;
  readonly body: string;
}

/** Answers the requests one after the other; the last answer stays. */
let answers: ((response: ServerResponse) => void)[];
let received: Received[];
let server: Server;
let url: string;
let ending: AbortController;

beforeEach(async () => {
  answers = [];
  received = [];
  ending = new AbortController();
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      const { 'idempotency-key': key, authorization } = request.headers;
      received.push({ key: key?.toString(), authorization, body });
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      answer?.(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  ending.abort();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const createClient = () => createApiClient({ url, key: 'tw_a_b', signal: ending.signal });
const json = (status: number, body: object) => (response: ServerResponse) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
const failure = (code: string, retryable: boolean, more: object = {}) => ({
  data: null,
  errors: [{ message: 'no', extensions: { code, retryable, executed: 'NO', ...more } }],
});

describe('request', () => {
  it('sends document, variables and key, and gives the data', async () => {
    answers = [json(200, { data: { ok: 1 } })];
    const data = await createClient().request('mutation { a }', { b: 2 }, { idempotencyKey: 'k' });
    expect(data).toEqual({ ok: 1 });
    expect(received).toEqual([
      {
        key: 'k',
        authorization: 'Bearer tw_a_b',
        body: '{"query":"mutation { a }","variables":{"b":2}}',
      },
    ]);
  });

  it('repeats with the same key when the answer is lost, refused for now, or not JSON', async () => {
    answers = [
      (response) => response.destroy(),
      json(503, failure('UNAVAILABLE', true)),
      (response) => response.writeHead(502).end('<html>'),
      json(200, { data: { ok: 1 } }),
    ];
    const client = createClient();
    await client.request('mutation { a }', {}, { idempotencyKey: 'k' });
    expect(received.map((each) => each.key)).toEqual(['k', 'k', 'k', 'k']);
    expect(client.isAway()).toBe(false);
    expect(client.medianMs()).toBeGreaterThan(0);
  });

  it('waits as long as the server asks', async () => {
    answers = [
      json(429, failure('RATE_LIMITED', true, { retryAfterMs: 300 })),
      json(200, { data: { ok: 1 } }),
    ];
    const startedAt = performance.now();
    await createClient().request('{ a }', {});
    expect(performance.now() - startedAt).toBeGreaterThan(290);
  });

  it('gives an error that is not retryable to the caller at once', async () => {
    answers = [json(200, failure('BATCH_REJECTED', false, { requestId: 'r1' }))];
    await expect(createClient().request('{ a }', {})).rejects.toMatchObject({
      name: 'RequestError',
      code: 'BATCH_REJECTED',
      isRetryable: false,
      retryAfterMs: null,
      executed: 'NO',
      requestId: 'r1',
    });
    expect(received).toHaveLength(1);
  });

  it('ends with its signal while it waits for a server that is away', async () => {
    answers = [(response) => response.destroy()];
    const client = createClient();
    const request = client.request('{ a }', {});
    await vi.waitFor(() => expect(client.isAway()).toBe(true));
    ending.abort();
    await expect(request).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('follow', () => {
  it('begins again after the last cursor when the socket is lost', async () => {
    const { sockets, messages } = serveCounter();
    const seen: string[] = [];
    const following = createClient().follow<{ cursor: string }>(
      'subscription ($after: String) { ticks(after: $after) { cursor } }',
      { where: 1 },
      ({ cursor }) => seen.push(cursor),
    );
    await vi.waitFor(() => expect(seen).toEqual(['1', '2']));
    for (const socket of sockets.clients) socket.terminate();
    await vi.waitFor(() => expect(seen).toEqual(['1', '2', '3', '4']), { timeout: 5_000 });
    expect(messages).toMatchObject([
      { type: 'connection_init', payload: { authorization: 'Bearer tw_a_b' } },
      { type: 'subscribe', payload: { variables: { where: 1 } } },
      { type: 'connection_init' },
      { type: 'subscribe', payload: { variables: { where: 1, after: '2' } } },
    ]);
    ending.abort();
    await following;
    await vi.waitFor(() => expect(sockets.clients.size).toBe(0));
  });

  it('ends in silence while it is connecting', async () => {
    const upgrade = new Promise<Duplex>((resolve) => {
      server.once('upgrade', (_request, socket) => resolve(socket));
    });
    const following = createClient().follow('subscription { a }', {}, () => undefined);
    const socket = await upgrade;
    ending.abort();
    socket.destroy();
    await expect(following).resolves.toBeUndefined();
  });

  it('begins again when the server ends the stream', async () => {
    const { messages } = serveCounter({ isEnding: true });
    const seen: string[] = [];
    void createClient().follow<{ cursor: string }>('subscription { a }', {}, ({ cursor }) =>
      seen.push(cursor),
    );
    await vi.waitFor(() => expect(seen.slice(0, 4)).toEqual(['1', '2', '3', '4']), {
      timeout: 5_000,
    });
    expect(messages.length).toBeGreaterThanOrEqual(3);
  });
});

interface Message {
  readonly id: string;
  readonly type: string;
  readonly payload?: { readonly variables?: { readonly after?: string } };
}

/** Speaks graphql-transport-ws: each subscription counts two on from `after`. */
function serveCounter({ isEnding = false } = {}) {
  const messages: Message[] = [];
  const sockets = new WebSocketServer({
    server,
    path: '/graphql',
    handleProtocols: () => 'graphql-transport-ws',
  });
  sockets.on('connection', (socket) => {
    const send = (message: object) => socket.send(JSON.stringify(message));
    socket.on('message', (data) => {
      const message: Message = JSON.parse(String(data));
      messages.push(message);
      if (message.type === 'connection_init') send({ type: 'connection_ack' });
      if (message.type !== 'subscribe') return;
      const { id } = message;
      const first = Number(message.payload?.variables?.after ?? 0);
      for (const cursor of [String(first + 1), String(first + 2)]) {
        send({ id, type: 'next', payload: { data: { ticks: { cursor } } } });
      }
      if (isEnding) send({ id, type: 'complete' });
    });
  });
  return { sockets, messages };
}
