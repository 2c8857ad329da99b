import { once } from 'node:events';
import { WebSocket } from 'ws';

/**
 * The readers of the stream lines, in a process of their own: what reading costs is not the
 * server's. They look for one word in each message and parse nothing. Asked by its parent.
 */

export type Order =
  | {
      readonly kind: 'open';
      readonly url: string;
      /** One socket and one subscription of it for each; null: the socket alone. */
      readonly queries: readonly (string | null)[];
      readonly authorization: string;
    }
  /** From now on so many of the sockets, the newest, read nothing and are not counted. */
  | { readonly kind: 'pause'; readonly count: number }
  /** Begins to count, answered at once. */
  | { readonly kind: 'count'; readonly eventsPerSocket: number }
  /** Answered when every socket has had its events. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'close' };

export interface Answer {
  /** From the count to the last event. */
  readonly elapsedMs: number;
  /** Of one message. */
  readonly meanBytes: number;
}

const EVENT = Buffer.from('"CHANGE"');
const BEGUN = Buffer.from('"CAUGHT_UP"');
/** Handshakes at once: more would only wait in the backlog. */
const OPENING_MAX = 50;

const sockets: WebSocket[] = [];
const paused: WebSocket[] = [];
let missing = 0;
let bytes = 0;
let events = 0;
let countedAtMs = 0;
let endedAtMs = 0;
let onEnd: () => void = () => undefined;

process.on('message', (order: Order) => {
  void obey(order).then(
    (answer) => process.send?.(answer),
    (error) => {
      throw error;
    },
  );
});

async function obey(order: Order): Promise<Answer> {
  if (order.kind === 'open') await openAll(order);
  else if (order.kind === 'pause') pause(order.count);
  else if (order.kind === 'close') await closeAll();
  else if (order.kind === 'count') {
    missing = sockets.length * order.eventsPerSocket;
    bytes = 0;
    events = 0;
    countedAtMs = performance.now();
  } else if (missing > 0) {
    await new Promise<void>((resolve) => {
      onEnd = resolve;
    });
  }
  return { elapsedMs: endedAtMs - countedAtMs, meanBytes: events === 0 ? 0 : bytes / events };
}

async function openAll({ url, queries, authorization }: Order & { kind: 'open' }): Promise<void> {
  const left = queries.values();
  const opener = async () => {
    for (const query of left) sockets.push(await openOne(url, query, authorization));
  };
  await Promise.all(Array.from({ length: OPENING_MAX }, opener));
}

async function openOne(
  url: string,
  query: string | null,
  authorization: string,
): Promise<WebSocket> {
  const options = { perMessageDeflate: false, skipUTF8Validation: true };
  const socket = new WebSocket(url, ['graphql-transport-ws'], options);
  await once(socket, 'open');
  if (query !== null) {
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization } }));
    await once(socket, 'message');
    socket.send(JSON.stringify({ type: 'subscribe', id: 'a', payload: { query } }));
    const [begun] = await once(socket, 'message');
    if (!begun.includes(BEGUN)) throw new Error(begun.toString());
  }
  socket.on('message', take);
  socket.on('close', onClosed);
  return socket;
}

function take(message: Buffer): void {
  if (!message.includes(EVENT)) return;
  events += 1;
  bytes += message.length;
  missing -= 1;
  if (missing > 0) return;
  endedAtMs = performance.now();
  onEnd();
}

function onClosed(code: number): void {
  throw new Error(`the server closed a socket with ${code}`);
}

function pause(count: number): void {
  for (const socket of sockets.splice(-count)) {
    socket.off('message', take).off('close', onClosed);
    socket.pause();
    paused.push(socket);
  }
}

async function closeAll(): Promise<void> {
  for (const socket of sockets) socket.off('close', onClosed).close();
  await Promise.all(sockets.map((socket) => once(socket, 'close')));
  for (const socket of paused) socket.terminate();
  sockets.length = 0;
  paused.length = 0;
}
