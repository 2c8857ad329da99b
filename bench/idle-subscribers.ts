import { setTimeout as sleep } from 'node:timers/promises';
import { withReaders } from './reader-process.ts';
import type { Bench, Result } from './table.ts';
import { type World, withWorld } from './world.ts';

/**
 * What an idle subscriber takes of the server's resident memory (VmRSS): the difference between 500
 * that have come and gone and 10,000 sockets with one subscription each, by their number, as V8
 * collects by itself. Then all go and come once more: what the heap holds more than before, when
 * nobody is there, is what was not given back. V8 keeps pages of a heap it may need again, so this
 * is told of the heap in use after a collection. Each process needs 10,000 open files.
 */
const SUBSCRIBERS = 10_000;
const WARM_UP = 500;
const LIMIT_KB = 60;
const LEFT_KB_MAX = 1;
/** Time for heartbeats to go out, and for the server to see that its clients are gone. */
const SETTLE_MS = 15_000;
const QUERY = `subscription { positionChanges(account: "main") {
  kind seq previousSeq cursor at position { id symbol side quantity } } }`;

export async function idleSubscribersLines(bench: Bench): Promise<readonly Result[]> {
  const count = bench.isQuick ? SUBSCRIBERS / 10 : SUBSCRIBERS;
  const settleMs = bench.isQuick ? 1000 : SETTLE_MS;
  return await withWorld(bench, 'idle', async (world) => {
    await hold(world, WARM_UP, settleMs);
    const heapKb = await readHeapKb(world);
    const beforeKb = await world.readResidentKb();
    const openKb = await hold(world, count, settleMs);
    await hold(world, count, settleMs);
    const leftKb = await readHeapKb(world);
    const line = `memory of an idle subscriber, ${count.toLocaleString('en')} of them`;
    return [
      resultOf(line, (openKb - beforeKb) / count, LIMIT_KB),
      resultOf(
        'heap not given back, by each that has gone',
        (leftKb - heapKb) / count,
        LEFT_KB_MAX,
      ),
    ];
  });
}

function resultOf(line: string, kilobytes: number, limitKb: number): Result {
  return {
    line,
    figure: `${kilobytes.toFixed(1)} kB`,
    limit: `${limitKb} kB`,
    ratio: kilobytes / limitKb,
    bound: { kind: 'at most', value: 1 },
  };
}

/** The resident memory while so many are there. */
async function hold(world: World, count: number, settleMs: number): Promise<number> {
  return await withReaders(async (readers) => {
    const queries = Array.from({ length: count }, () => QUERY);
    await readers.open(`${world.url.replace('http', 'ws')}/graphql`, queries, world.key);
    await sleep(settleMs);
    const openKb = await world.readResidentKb();
    await readers.close();
    await sleep(settleMs);
    return openKb;
  });
}

async function readHeapKb(world: World): Promise<number> {
  return (await world.readHeapBytes()) / 1024;
}
