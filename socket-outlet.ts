import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import type { Outlet } from './outlet.ts';
import { TOGETHER_BYTES_MAX } from './outlet.ts';
import type { Frame, Sink } from './subscriptions/sharing.ts';

const AS_TEXT = { binary: false } as const;

/**
 * Sends what is told to several as `next` messages of one operation, in which only its id differs.
 * What the library sends for the same operation goes the same way, so the order holds.
 */
export function createSocketOutlet(
  socket: WebSocket,
  connection: Socket,
  id: string,
  onSlow: Outlet['onSlow'],
): Outlet {
  return { sink: createSink(socket, connection, id), around: (events) => events, onSlow };
}

function createSink(socket: WebSocket, connection: Socket, id: string): Sink {
  const head = Buffer.from(`{"id":${JSON.stringify(id)},"type":"next","payload":`);
  let isCorked = false;
  return {
    get unsentBytes() {
      return socket.bufferedAmount;
    },
    write(frame) {
      if (socket.readyState !== WebSocket.OPEN) return;
      // What is written in one turn goes to the system in one call.
      if (!isCorked) connection.cork();
      isCorked = true;
      socket.send(messageOf(head, tailOf(frame)), AS_TEXT);
    },
    flush() {
      if (isCorked) connection.uncork();
      isCorked = false;
      return socket.bufferedAmount <= TOGETHER_BYTES_MAX;
    },
    drained: (signal) => drained(connection, signal),
  };
}

function tailOf(frame: Frame): Buffer {
  frame.made ??= Buffer.from(`${frame.text}}`);
  return frame.made;
}

function messageOf(head: Buffer, tail: Buffer): Buffer {
  const message = Buffer.allocUnsafe(head.length + tail.length);
  message.set(head);
  message.set(tail, head.length);
  return message;
}

function drained(connection: Socket, signal: AbortSignal): Promise<void> {
  if (!connection.writableNeedDrain || connection.destroyed) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const end = () => {
      leave();
      resolve();
    };
    const abort = () => {
      leave();
      reject(signal.reason);
    };
    function leave(): void {
      connection.off('drain', end).off('close', end);
      signal.removeEventListener('abort', abort);
    }
    connection.on('drain', end).on('close', end);
    signal.addEventListener('abort', abort, { once: true });
  });
}
