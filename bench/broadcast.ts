import { once } from 'node:events';
import { type WebSocket, WebSocketServer } from 'ws';

/**
 * The limit of the stream lines: `ws` and nothing else, in a process of its own. Told by its parent
 * how many messages of which size, it sends each of them, ready-made, to every socket that is open.
 */

export interface Broadcast {
  readonly messages: number;
  readonly bytes: number;
}

/** Nobody is sent more while it has so much to take: the sockets would hold it all in memory. */
const UNSENT_BYTES_MAX = 1024 * 1024;

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
await once(server, 'listening');
process.send?.(Object(server.address()).port);

process.on('message', ({ messages, bytes }: Broadcast) => {
  void broadcast(messages, Buffer.from('"CHANGE"'.padEnd(bytes, 'x')));
});

async function broadcast(messages: number, message: Buffer): Promise<void> {
  for (let sent = 0; sent < messages; sent += 1) {
    for (const socket of server.clients) socket.send(message, { binary: false });
    do await new Promise((resolve) => setImmediate(resolve));
    while (hasMuch(server.clients));
  }
}

function hasMuch(sockets: ReadonlySet<WebSocket>): boolean {
  for (const { bufferedAmount } of sockets) if (bufferedAmount > UNSENT_BYTES_MAX) return true;
  return false;
}
