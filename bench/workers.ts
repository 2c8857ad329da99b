import { CONNECTIONS, createReader, openPositions, rate, ROWS, uncachedBody } from './pages.ts';
import { race } from './race.ts';
import type { Bench, Result } from './table.ts';
import { withWorld } from './world.ts';

/**
 * Two workers against one process, over the same database: what each gives when it is alone. Nothing
 * is demanded: with the database and the client, it is a machine's cores that decide.
 */
const WORKERS = 2;

export async function workerLines(bench: Bench): Promise<readonly Result[]> {
  return withWorld(bench, 'workers', async (world) => {
    await openPositions(world);
    return world.withServer({ WORKERS: String(WORKERS) }, async (url) => {
      const requests = bench.isQuick ? 100 : 300;
      const { product, limit, ratio } = await race(
        createReader(url, world.key, requests, uncachedBody),
        createReader(world.url, world.key, requests, uncachedBody),
        bench.isQuick ? 3 : 5,
      );
      return [
        {
          line: `${WORKERS} workers against one process: pages of ${ROWS}, uncached, ${CONNECTIONS} connections`,
          figure: rate(product),
          limit: rate(limit),
          ratio,
          bound: { kind: 'at least', value: 0 },
        },
      ];
    });
  });
}
