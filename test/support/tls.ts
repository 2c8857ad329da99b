import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';

const folder = join(import.meta.dirname, 'tls');

/** The authority that signed the certificate of `localhost`; made for these tests alone. */
export const AUTHORITY_FILE: string = join(folder, 'authority.crt');

export interface TlsFront {
  readonly port: number;
  /** What clients sent before TLS, without the request for it. */
  readonly inTheClear: readonly Buffer[];
  close(): Promise<void>;
}

/** Speaks TLS as PostgreSQL does, or refuses it, in front of the server at `serverPath`. */
export async function createTlsFront(serverPath: string, isTlsOffered = true): Promise<TlsFront> {
  const sockets = new Set<Socket>();
  const inTheClear: Buffer[] = [];
  const key = readFileSync(join(folder, 'server.key'));
  const cert = readFileSync(join(folder, 'server.crt'));
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
    socket.once('data', (request: Buffer) => {
      inTheClear.push(request.subarray(8));
      if (!isTlsOffered) {
        socket.on('data', (chunk: Buffer) => inTheClear.push(chunk));
        socket.write('N');
        return;
      }
      socket.write('S');
      const secured = new TLSSocket(socket, { isServer: true, key, cert });
      const upstream = connect({ path: serverPath });
      const end = () => {
        secured.destroy();
        upstream.destroy();
      };
      for (const each of [secured, upstream]) each.on('error', end).on('close', end);
      secured.pipe(upstream).pipe(secured);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    // A TCP server has an address of this form.
    port: (server.address() as AddressInfo).port,
    inTheClear,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
