import { createWriter, ITEMS } from './fan-out.ts';
import { withReaders } from './reader-process.ts';
import { type Bench, quantile, type Result } from './table.ts';
import { type World, withWorld } from './world.ts';

/**
 * What 20 readers that stopped reading cost 180 others of the same stream: the time from before a
 * mutation of 250 positions is sent until all 180 have its 250 events, with the 20 and without, in
 * turns; and the resident memory of the server (VmRSS) by each paused reader, whose system buffers
 * hold a part of the 6 MB that it is sent. They are cut by the ping some 12 s after they stopped, so
 * a turn is shorter than that.
 */
const READERS = 180;
const PAUSED = 20;
/** Not demanded as a number: the others' latency is to be unchanged. */
const P50_MAX = 1.25;
const P99_MAX = 1.5;
/** What may wait for a reader before it is told that it is slow. */
const LIMIT_KB = 1024;

const QUERY = `subscription {
  positionChanges(account: "main") { kind seq previousSeq cursor at position {
    id exchange symbol side quantity entryPrice stopLossPrice version updatedAt } } }`;

export async function pausedReadersLines(bench: Bench): Promise<readonly Result[]> {
  const rounds = bench.isQuick ? 1 : 4;
  const mutations = bench.isQuick ? 5 : 20;
  return await withWorld(bench, 'paused', async (world) => {
    const change = await createWriter(world, 1);
    await turn(world, 0, mutations, change);
    const alone: number[] = [];
    const beside: number[] = [];
    const grownKb: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const without = await turn(world, 0, mutations, change);
      const withPaused = await turn(world, PAUSED, mutations, change);
      alone.push(...without.ms);
      beside.push(...withPaused.ms);
      grownKb.push((withPaused.residentKb - without.residentKb) / PAUSED);
    }
    return [
      latencyOf('p50', quantile(beside, 0.5), quantile(alone, 0.5), P50_MAX),
      latencyOf('p99', quantile(beside, 0.99), quantile(alone, 0.99), P99_MAX),
      memoryOf(quantile(grownKb, 0.5)),
    ];
  });
}

function latencyOf(name: string, figureMs: number, limitMs: number, value: number): Result {
  return {
    line: `250 events to ${READERS} readers beside ${PAUSED} paused ones, ${name}`,
    figure: `${figureMs.toFixed(1)} ms`,
    limit: `${limitMs.toFixed(1)} ms`,
    ratio: figureMs / limitMs,
    bound: { kind: 'at most', value },
  };
}

function memoryOf(kilobytes: number): Result {
  return {
    line: 'memory of the server by each of those',
    figure: `${kilobytes.toFixed(0)} kB`,
    limit: `${LIMIT_KB} kB`,
    ratio: kilobytes / LIMIT_KB,
    bound: { kind: 'at most', value: 1 },
  };
}

interface Turn {
  /** Of each mutation, until all have its events. */
  readonly ms: readonly number[];
  readonly residentKb: number;
}

async function turn(
  world: World,
  paused: number,
  mutations: number,
  change: () => Promise<void>,
): Promise<Turn> {
  return await withReaders(async (readers) => {
    const queries = Array.from({ length: READERS + paused }, () => QUERY);
    await readers.open(`${world.url.replace('http', 'ws')}/graphql`, queries, world.key);
    if (paused > 0) await readers.pause(paused);
    const ms: number[] = [];
    for (let mutation = 0; mutation < mutations; mutation += 1) {
      const { elapsedMs } = await readers.receive(ITEMS, change);
      ms.push(elapsedMs);
    }
    const residentKb = await world.readResidentKb();
    await readers.close();
    return { ms, residentKb };
  });
}
