import { makeBody } from './client.ts';
import { assertCreated, createBatches, LOG_PREDICTIONS } from './predictions.ts';
import type { Bench, Result } from './table.ts';
import { withWorld } from './world.ts';

/**
 * The resident memory of the server's process (VmRSS, without PostgreSQL) after predictions with 4
 * horizons each were sent to it, 1000 a request, over 4 connections.
 */
const LIMIT_MB = 300;
const ITEMS = 1000;
const CONNECTIONS = 4;

export async function memoryLine(bench: Bench): Promise<readonly Result[]> {
  const batches = bench.isQuick ? 50 : 1000;
  const megabytes = await withWorld(bench, 'memory', async ({ client, readResidentKb }) => {
    const nextBatch = createBatches(ITEMS);
    let left = batches;
    const connection = async () => {
      while (left > 0) {
        left -= 1;
        const body = makeBody(LOG_PREDICTIONS, { input: { account: 'main', items: nextBatch() } });
        assertCreated(await client.post(body), ITEMS);
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, connection));
    return (await readResidentKb()) / 1024;
  });
  return [
    {
      line: `memory of the server after ${(batches * ITEMS).toLocaleString('en')} predictions`,
      figure: `${megabytes.toFixed(0)} MB`,
      limit: `${LIMIT_MB} MB`,
      ratio: megabytes / LIMIT_MB,
      bound: { kind: 'at most', value: 1 },
    },
  ];
}
