import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { BEHIND_MS_MAX } from '../../../subscriptions/pace.ts';
import { openOne, update } from '../../support/documents.ts';
import { eventually } from '../../support/eventually.ts';
import { openItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

const READERS = 200;
const PAUSED = 20;
const CHANGES = 120;
const METADATA_BYTES = 16_000;
/** What a member may have untaken, what is written at once, and two events more. */
const UNSENT_MAX = 2 * 64 * 1024 + 2 * 3 * METADATA_BYTES;

let server: TestServer;
/** The server's side of each socket, in the order they came. */
const accepted: WebSocket[] = [];

beforeAll(async () => {
  const upgrade = WebSocketServer.prototype.handleUpgrade;
  vi.spyOn(WebSocketServer.prototype, 'handleUpgrade').mockImplementation(function (
    this: WebSocketServer,
    request,
    socket,
    head,
    done,
  ) {
    upgrade.call(this, request, socket, head, (opened, of) => {
      accepted.push(opened);
      done(opened, of);
    });
  });
  server = await startTestServer();
});

afterEach(() => {
  vi.restoreAllMocks();
});

afterAll(() => server.stop());

const WATCH = `subscription ($after: String) { positionChanges(account: "main", after: $after) {
  kind seq cursor position { version a: metadata b: metadata c: metadata } } }`;

interface Reader {
  readonly socket: WebSocket;
  /** The server's side. */
  readonly other: WebSocket;
  /** Of CHANGE events. */
  readonly seqs: number[];
  readonly errors: { readonly extensions: Readonly<Record<string, unknown>> }[];
  readonly closed: Promise<number>;
}

async function openReader(after: string | null = null): Promise<Reader> {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/graphql`, [
    'graphql-transport-ws',
  ]);
  const closed = new Promise<number>((resolve) => {
    socket.once('close', resolve);
  });
  await once(socket, 'open');
  const other = accepted.at(-1);
  if (other === undefined) throw new Error('nobody accepted it');
  const seqs: number[] = [];
  const errors: Reader['errors'] = [];
  let isCaughtUp = false;
  socket.on('message', (data) => {
    const text = data.toString();
    const [, kind, seq] = /"kind":"(\w+)","seq":"(\d+)"/.exec(text) ?? [];
    if (kind === 'CHANGE') seqs.push(Number(seq));
    if (kind === 'CAUGHT_UP') isCaughtUp = true;
    if (text.includes('"type":"error"')) errors.push(...JSON.parse(text).payload);
  });
  const send = (message: object) => socket.send(JSON.stringify(message));
  send({ type: 'connection_init', payload: { authorization: `Bearer ${server.key}` } });
  await once(socket, 'message');
  send({ type: 'subscribe', id: 'a', payload: { query: WATCH, variables: { after } } });
  await eventually(() => expect(isCaughtUp).toBe(true));
  return { socket, other, seqs, errors, closed };
}

describe('20 readers that stop reading among 200', () => {
  it('hold a bounded rest, are told so after 30 s, and can go on where they were', async () => {
    const { id } = await openOne(server, openItem());
    const readers: Reader[] = [];
    while (readers.length < READERS) readers.push(await openReader());
    const paused = readers.slice(0, PAUSED);
    for (const { socket } of paused) socket.pause();
    for (let change = 0; change < CHANGES; change += 1) {
      const metadata = { text: 'x'.repeat(METADATA_BYTES), change };
      await update(server, [{ id, metadata }]);
    }
    const changes = await server.sql<{ seq: string }[]>`
      select seq from changes where account_id = 'main' and operation = 'UPDATE' order by seq`;
    const expected = changes.map(({ seq }) => Number(seq));
    expect(expected).toHaveLength(CHANGES);
    for (const { seqs } of readers.slice(PAUSED)) {
      await eventually(() => expect(seqs).toEqual(expected));
    }
    const unsent = paused.map(({ other }) => other.bufferedAmount);
    // They are behind by more than that, or this shows nothing.
    expect(Math.min(...unsent)).toBeGreaterThan(0);
    expect(Math.max(...unsent)).toBeLessThan(UNSENT_MAX);

    const realNow = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => realNow() + BEHIND_MS_MAX);
    for (const { other } of paused) {
      await eventually(() => expect(other.readyState).not.toBe(WebSocket.OPEN));
    }
    const [first] = paused;
    first?.socket.resume();
    expect(await first?.closed).toBe(1013);
    const [error] = first?.errors ?? [];
    expect(error?.extensions).toMatchObject({ code: 'SLOW_CONSUMER', retryable: true });
    expect(error?.extensions.seq).toBe(String(first?.seqs.at(-1)));
    vi.restoreAllMocks();

    const again = await openReader(String(error?.extensions.cursor));
    expect([...(first?.seqs ?? []), ...again.seqs]).toEqual(expected);
    for (const { socket } of [...readers, again]) socket.terminate();
  });
});

/** A subscription over SSE whose client can stop reading. */
async function openEvents(): Promise<IncomingMessage> {
  const sent = request(`${server.url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'text/event-stream',
      authorization: `Bearer ${server.key}`,
    },
  });
  sent.end(JSON.stringify({ query: WATCH }));
  const [response] = await once(sent, 'response');
  return response;
}

describe('a reader over SSE that stops reading', () => {
  it('gets SLOW_CONSUMER as its last event, and can go on after it', async () => {
    const { id } = await openOne(server, openItem({ symbol: 'ETHUSDT' }));
    const response = await openEvents();
    let text = '';
    response.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    await eventually(() => expect(text).toContain('CAUGHT_UP'));
    const ended = once(response, 'close');
    response.pause();
    for (let change = 0; change < CHANGES; change += 1) {
      const metadata = { text: 'x'.repeat(METADATA_BYTES), change };
      await update(server, [{ id, metadata }]);
    }
    const abort = vi.spyOn(AbortController.prototype, 'abort');
    const realNow = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => realNow() + BEHIND_MS_MAX);
    const slow = expect.objectContaining({ code: 'SLOW_CONSUMER' });
    await eventually(() => expect(abort).toHaveBeenCalledWith(slow));
    response.resume();
    await ended;
    vi.restoreAllMocks();

    const events = text.split('\n\n').filter((event) => event.includes('data: {'));
    const [, data] = /data: (.*)/.exec(events.at(-1) ?? '') ?? [];
    const [error] = JSON.parse(data ?? '{}').errors ?? [];
    expect(error?.extensions).toMatchObject({ code: 'SLOW_CONSUMER', retryable: true });
    const [, last] = /\nid: (\S+)/.exec(events.at(-2) ?? '') ?? [];
    expect(error?.extensions.cursor).toBe(last);
    const again = await openReader(String(last));
    const seqsOf = (kind: string) =>
      [...text.matchAll(/"kind":"(\w+)","seq":"(\d+)"/g)]
        .filter(([, found]) => found === kind)
        .map(([, , seq]) => Number(seq));
    const changes = await server.sql<{ seq: string }[]>`
      select seq from changes where account_id = 'main' and operation = 'UPDATE'
        and seq > ${seqsOf('CAUGHT_UP')[0] ?? 0} order by seq`;
    expect(changes).toHaveLength(CHANGES);
    expect([...seqsOf('CHANGE'), ...again.seqs]).toEqual(changes.map(({ seq }) => Number(seq)));
    again.socket.terminate();
  });
});
