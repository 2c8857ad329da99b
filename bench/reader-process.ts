import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Broadcast } from './broadcast.ts';
import type { Answer, Order } from './subscribers.ts';

export interface Readers {
  /** Resolves when each has been told that it has caught up. */
  open(url: string, queries: readonly (string | null)[], key?: string): Promise<void>;
  /** So many, the newest, read nothing any more. */
  pause(count: number): Promise<void>;
  /** While `send` sends so many events to every socket: how long it took until all had them. */
  receive(eventsPerSocket: number, send: () => Promise<void>): Promise<Answer>;
  close(): Promise<void>;
}

/** Runs `work` with a process of readers. */
export async function withReaders<T>(work: (readers: Readers) => Promise<T>): Promise<T> {
  const child = start('subscribers.ts');
  const ask = async (order: Order): Promise<Answer> => {
    child.send(order);
    return await answerOf<Answer>(child);
  };
  try {
    return await work({
      async open(url, queries, key = '') {
        await ask({ kind: 'open', url, queries, authorization: `Bearer ${key}` });
      },
      async pause(count) {
        await ask({ kind: 'pause', count });
      },
      async receive(eventsPerSocket, send) {
        await ask({ kind: 'count', eventsPerSocket });
        await send();
        return await ask({ kind: 'wait' });
      },
      async close() {
        await ask({ kind: 'close' });
      },
    });
  } finally {
    child.kill('SIGKILL');
  }
}

/** Runs `work` with a bare server. */
export async function withBroadcast<T>(
  work: (url: string, broadcast: (order: Broadcast) => void) => Promise<T>,
): Promise<T> {
  const child = start('broadcast.ts');
  try {
    const port = await answerOf<number>(child);
    return await work(`ws://127.0.0.1:${port}`, (order) => child.send(order));
  } finally {
    child.kill('SIGKILL');
  }
}

function start(file: string): ChildProcess {
  return fork(join(import.meta.dirname, file));
}

async function answerOf<T>(child: ChildProcess): Promise<T> {
  const settled = new AbortController();
  const { signal } = settled;
  const ended = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`a process of the bench ended with ${code}`);
  });
  try {
    const [answer] = await Promise.race([once(child, 'message', { signal }), ended]);
    return answer;
  } finally {
    // The one that was not needed is rejected, and nobody waits for it.
    ended.catch(() => undefined);
    settled.abort();
  }
}
