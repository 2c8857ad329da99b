import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Stands between a client and a server, and breaks what passes through. */
export interface Chaos {
  readonly socketPath: string;
  /** Open connections of clients. */
  readonly connections: number;
  /** Everything is held back from now on, in both directions; connections stay open. */
  freeze(): void;
  /** What was held back is sent on. */
  thaw(): void;
  /** Breaks every connection. */
  cut(): void;
  /**
   * Breaks the next connection that sends `text`: `before` the server gets it, or `after` the
   * server has answered, with the answer lost. Resolves when it has happened.
   */
  cutAt(text: string, when: 'before' | 'after'): Promise<void>;
  close(): Promise<void>;
}

/** As it stands in what the last statements of a unit are sent with, and nowhere else. */
export const COMMIT = 'commit   ';

interface Trap {
  readonly text: string;
  readonly when: 'before' | 'after';
  readonly sprung: () => void;
}

/** A proxy on a socket of its own in front of the server at `serverPath`. */
export async function createChaos(serverPath: string): Promise<Chaos> {
  const folder = await mkdtemp(join(tmpdir(), 'tw-chaos-'));
  await chmod(folder, 0o755);
  const socketPath = join(folder, 'socket');
  const clients = new Set<Socket>();
  const held: (() => void)[] = [];
  const traps: Trap[] = [];
  let isFrozen = false;

  function pass(chunk: Buffer, to: Socket): void {
    if (isFrozen) held.push(() => to.write(chunk));
    else to.write(chunk);
  }

  function springs(chunk: Buffer): Trap | undefined {
    const index = traps.findIndex(({ text }) => chunk.includes(text));
    return index === -1 ? undefined : traps.splice(index, 1)[0];
  }

  const server = createServer((client) => {
    const upstream = connect({ path: serverPath });
    clients.add(client);
    let sprung: Trap | undefined;
    const end = () => {
      clients.delete(client);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
    client.on('data', (chunk: Buffer) => {
      sprung ??= springs(chunk);
      if (sprung?.when !== 'before') return pass(chunk, upstream);
      end();
      sprung.sprung();
    });
    upstream.on('data', (chunk: Buffer) => {
      if (sprung === undefined) return pass(chunk, client);
      end();
      sprung.sprung();
    });
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));

  return {
    socketPath,
    get connections() {
      return clients.size;
    },
    freeze() {
      isFrozen = true;
    },
    thaw() {
      isFrozen = false;
      for (const send of held.splice(0)) send();
    },
    cut() {
      for (const client of [...clients]) client.destroy();
    },
    cutAt: (text, when) => new Promise((sprung) => traps.push({ text, when, sprung })),
    async close() {
      for (const client of [...clients]) client.destroy();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
