import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/**
 * One kept-alive HTTP connection that reads no more of an answer than it must. Node's own client
 * costs more than a bare server does: with it, the client would be what is measured.
 */
export interface RawConnection {
  /** Sends a whole request as it stands; the body of the answer. @throws unless it has status 200 */
  exchange(request: Buffer): Promise<Buffer>;
  close(): void;
}

/** A request that may be sent again and again. */
export function makeRequest(url: string, key: string, body: Buffer): Buffer {
  const head = [
    'POST /graphql HTTP/1.1',
    `host: ${new URL(url).host}`,
    `authorization: Bearer ${key}`,
    'content-type: application/json',
    `content-length: ${body.length}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}

interface Waiter {
  readonly resolve: (body: Buffer) => void;
  readonly reject: (error: Error) => void;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const CHUNKS_END = Buffer.from('\r\n0\r\n\r\n');

export async function openRawConnection(url: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const socket: Socket = connect({ host: hostname, port: Number(port), noDelay: true });
  await once(socket, 'connect');
  let waiter: Waiter | null = null;
  let received: Buffer[] = [];
  let missingBytes = 0;

  function settle(): void {
    const answer = received.length === 1 ? received[0] : Buffer.concat(received);
    const body = answer === undefined ? null : bodyOf(answer);
    if (typeof body === 'number') missingBytes = body;
    if (body === null || typeof body === 'number') return;
    const { resolve, reject } = waiter ?? {};
    waiter = null;
    received = [];
    if (answer?.toString('latin1', 9, 12) === '200') resolve?.(body);
    else reject?.(new Error(`not 200: ${answer?.toString('utf8', 0, 500)}`));
  }

  socket.on('data', (chunk: Buffer) => {
    received.push(chunk);
    missingBytes -= chunk.length;
    if (missingBytes <= 0) settle();
  });
  const fail = (error: Error) => waiter?.reject(error);
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('the connection was closed')));
  return {
    exchange: (request) =>
      new Promise((resolve, reject) => {
        waiter = { resolve, reject };
        missingBytes = 0;
        socket.write(request);
      }),
    close: () => socket.destroy(),
  };
}

/** The body of a whole answer; the bytes that are missing, where that is known; null: go on. */
function bodyOf(answer: Buffer): Buffer | number | null {
  const headEnd = answer.indexOf(HEAD_END);
  if (headEnd === -1) return null;
  const start = headEnd + HEAD_END.length;
  const head = answer.toString('latin1', 0, headEnd);
  const [, length] = /\ncontent-length: *(\d+)/i.exec(head) ?? [];
  if (length !== undefined) {
    const missing = start + Number(length) - answer.length;
    return missing > 0 ? missing : answer.subarray(start);
  }
  const isWhole = answer.subarray(-CHUNKS_END.length).equals(CHUNKS_END);
  return isWhole ? answer.subarray(start) : null;
}
