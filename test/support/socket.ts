import { type ClientOptions, WebSocket } from 'ws';
import type { TestServer } from './server.ts';

/** A message of graphql-transport-ws. */
export interface Message {
  readonly type: string;
  readonly id?: string;
  readonly payload?: unknown;
}

/** A WebSocket as it is, for what the stock client would hide. */
export interface TestSocket {
  send(message: Message): void;
  /** The next message of this id, or without one. @throws when the socket is closed before */
  next(id?: string): Promise<Message>;
  readonly isOpen: boolean;
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  close(): void;
}

/** @throws with the HTTP status where the upgrade is refused */
export async function openSocket(
  server: TestServer,
  options: ClientOptions = {},
  path = '/graphql',
): Promise<TestSocket> {
  const url = `${server.url.replace('http', 'ws')}${path}`;
  const socket = new WebSocket(url, ['graphql-transport-ws'], options);
  const received: Message[] = [];
  const waiters = new Set<() => void>();
  const wake = () => {
    for (const waiter of waiters) waiter();
  };
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  socket.on('message', (data) => {
    const message = JSON.parse(data.toString()) as Message;
    // The keep-alive of the server.
    if (message.type !== 'ping') received.push(message);
    wake();
  });
  socket.on('close', wake);
  await new Promise<void>((resolve, reject) => {
    socket.on('open', resolve);
    socket.on('error', reject);
  });
  return {
    send: (message) => socket.send(JSON.stringify(message)),
    async next(id) {
      while (true) {
        const place = received.findIndex((message) => message.id === id);
        const [message] = place === -1 ? [] : received.splice(place, 1);
        if (message !== undefined) return message;
        if (socket.readyState === WebSocket.CLOSED) throw new Error('the socket is closed');
        await new Promise<void>((resolve) => {
          const waiter = () => {
            waiters.delete(waiter);
            resolve();
          };
          waiters.add(waiter);
        });
      }
    },
    get isOpen() {
      return socket.readyState === WebSocket.OPEN;
    },
    closed,
    close: () => socket.close(),
  };
}

/** A socket that was acknowledged under this key. */
export async function connectSocket(server: TestServer, key = server.key): Promise<TestSocket> {
  const socket = await openSocket(server);
  socket.send({ type: 'connection_init', payload: { authorization: `Bearer ${key}` } });
  const { type } = await socket.next();
  if (type !== 'connection_ack') throw new Error(`not acknowledged but ${type}`);
  return socket;
}
