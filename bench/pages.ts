import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { BareTask } from './bare-server.ts';
import { makeBody } from './client.ts';
import { type Contender, race } from './race.ts';
import { makeRequest, openRawConnection, type RawConnection } from './raw-connection.ts';
import type { Bench, Result } from './table.ts';
import { withWorld, type World } from './world.ts';

/**
 * A page of 50 positions x 9 fields over HTTP, 8 connections, against a bare node:http server in a
 * process of its own. Uncached, each request names another instant, and the bare server parses the
 * body, runs the very statement of the product on as many connections to the same database, and
 * makes the JSON of the same fields. Cached, it sends the bytes of the answer without reading what it
 * was sent. Both are asked over plain sockets, by a client that costs less than either.
 */
const PAGE = `query BenchPage($from: DateTime, $first: Int) {
  positions(account: "main", where: { openedAt: { from: $from } }, first: $first) {
    nodes { id symbol side status quantity entryPrice leverage realizedPnl openedAt }
  }
}`;

const OPEN_POSITIONS = `mutation BenchOpen($input: OpenPositionsInput!) {
  openPositions(input: $input) { counts { created } } }`;

export const CONNECTIONS = 8;
export const ROWS = 50;
const POSITIONS = 1000;
/** As many connections to the database as the product's queries have. */
const DRIVERS = 4;
const WRITE_EVERY_MS = 1000;
const UNCACHED_ACCEPT = 0.6;
const CACHED_ACCEPT = 0.5;

export async function pageLines(bench: Bench): Promise<readonly Result[]> {
  return withWorld(bench, 'pages', async (world) => {
    await openPositions(world);
    return [await measureUncached(world, bench), await measureCached(world, bench)];
  });
}

/** What pages are read of. */
export async function openPositions({ client }: World): Promise<void> {
  const items = Array.from({ length: POSITIONS }, (_none, index) => itemOf(`P${index}USDT`));
  await client.query(OPEN_POSITIONS, { input: { account: 'main', items } });
}

function itemOf(symbol: string) {
  return {
    exchange: 'bybit',
    symbol,
    side: 'LONG',
    quantity: '0.125',
    entryPrice: '64350.5',
    stopLossPrice: '60000',
    takeProfitPrice: '70000',
    leverage: '3',
    strategy: 'trend',
    metadata: { trailBy: '150.5' },
  };
}

async function measureUncached(world: World, { isQuick }: Bench): Promise<Result> {
  const task: BareTask = { kind: 'page', target: world.product, connections: DRIVERS };
  return withBareServer(task, async (bareUrl) => {
    const requests = isQuick ? 200 : 1000;
    const { product, limit, ratio } = await race(
      createReader(world.url, world.key, requests, uncachedBody),
      createReader(bareUrl, world.key, requests, uncachedBody),
      isQuick ? 3 : 7,
    );
    return {
      line: `page of ${ROWS} positions x 9 fields, uncached, ${CONNECTIONS} connections`,
      figure: rate(product),
      limit: rate(limit),
      ratio,
      bound: { kind: 'at least', value: UNCACHED_ACCEPT },
    };
  });
}

async function measureCached(world: World, { isQuick }: Bench): Promise<Result> {
  const body = bodyFrom('2026-01-01T00:00:00.000000Z');
  const answer = await world.client.post(body);
  const task: BareTask = { kind: 'bytes', base64: Buffer.from(answer).toString('base64') };
  return withBareServer(task, async (bareUrl) => {
    const requests = isQuick ? 500 : 5000;
    const before = await readCache(world);
    const stopWriting = startWriting(world);
    const { product, limit, ratio } = await race(
      createReader(world.url, world.key, requests, () => body),
      createReader(bareUrl, world.key, requests, () => body),
      isQuick ? 3 : 7,
    );
    await stopWriting();
    const after = await readCache(world);
    const hits = Number(after.hits) - Number(before.hits);
    const misses = Number(after.misses) - Number(before.misses);
    return {
      line: `the same, repeated identically, a write each second, hit rate ${(hits / (hits + misses)).toFixed(4)}`,
      figure: rate(product),
      limit: rate(limit),
      ratio,
      bound: { kind: 'at least', value: CACHED_ACCEPT },
    };
  });
}

interface CacheCounts {
  readonly hits: string;
  readonly misses: string;
}

async function readCache({ client }: World): Promise<CacheCounts> {
  const { health } = await client.query<{ health: { cache: CacheCounts } }>(
    '{ health { cache { hits misses } } }',
  );
  return health.cache;
}

/** Opens a position each second, so that no page is the same after that. */
function startWriting({ client }: World): () => Promise<void> {
  let written: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    const items = [itemOf(`W${performance.now().toFixed(0)}USDT`)];
    written = client.query(OPEN_POSITIONS, { input: { account: 'main', items } });
  }, WRITE_EVERY_MS);
  return async () => {
    clearInterval(timer);
    await written;
  };
}

export function rate(requests: number): string {
  return `${Math.round(requests).toLocaleString('en')} requests/s`;
}

let made = 0;

/** Of an instant that no request has named before: nothing can be answered from a cache. */
export function uncachedBody(): Buffer {
  made += 1;
  return bodyFrom(
    `2026-01-01T00:00:${String(made / 1e6)
      .padEnd(8, '0')
      .replace('0.', '00.')}Z`,
  );
}

function bodyFrom(from: string): Buffer {
  return makeBody(PAGE, { from, first: ROWS });
}

/** Sends requests on each of eight connections, one after the other. */
export function createReader(
  url: string,
  key: string,
  requests: number,
  nextBody: () => Buffer,
): Contender {
  let connections: readonly RawConnection[] = [];
  return {
    async prepare() {
      // Those of the round before were idle for so long that the server may have closed them.
      for (const connection of connections) connection.close();
      const opening = Array.from({ length: CONNECTIONS }, () => openRawConnection(url));
      connections = await Promise.all(opening);
      return connections.map((connection) =>
        Array.from({ length: requests }, () => {
          const request = makeRequest(url, key, nextBody());
          return async () => {
            const body = await connection.exchange(request);
            if (!body.includes('"realizedPnl":"0"')) throw new Error(body.toString('utf8'));
          };
        }),
      );
    },
  };
}

async function withBareServer<T>(task: BareTask, work: (url: string) => Promise<T>): Promise<T> {
  const child = fork(join(import.meta.dirname, 'bare-server.ts'), { stdio: 'inherit' });
  try {
    child.send(task);
    const [{ port }] = await once(child, 'message');
    return await work(`http://127.0.0.1:${port}`);
  } finally {
    child.disconnect();
  }
}
