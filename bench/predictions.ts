import { makePredictions } from '../cli/demo/market.ts';
import type { LogPredictionItem } from '../cli/demo/inputs.ts';
import { uuidOfKey } from '../datasources/id.ts';
import { createPredictionRepository, type NewPrediction } from '../datasources/prediction.ts';
import { makeBody } from './client.ts';
import { createCapture, runStatement } from './driver-statement.ts';
import { type Contender, type Job, race } from './race.ts';
import type { Bench, Result } from './table.ts';
import { withWorld, type World } from './world.ts';

/**
 * `logPredictions` over HTTP, predictions with 4 horizons each, 4 connections, against the same
 * rows put in by the driver in this process over 4 connections, one transaction a batch: the very
 * statement of the product (json_to_recordset), sent as one round trip that commits by itself.
 * Ids, hashes and JSON of the driver's rows are made before the clock runs, as the bodies are; it
 * checks nothing, keeps no log and answers nothing.
 */
export const LOG_PREDICTIONS = `
  mutation BenchPredictions($input: LogPredictionsInput!) {
    logPredictions(input: $input) { counts { created } results { index status id } }
  }`;

const CONNECTIONS = 4;
const SEED = 20_260_101;
const START_MS = Date.UTC(2024, 0, 1);
/** Their partitions exist before the clock runs, as they do in a database that is in use. */
const MONTHS = 36;

export async function predictionLines(bench: Bench): Promise<readonly Result[]> {
  const { isQuick } = bench;
  const large = { items: 1000, batches: isQuick ? 4 : 16, rounds: isQuick ? 1 : 7, accept: 0.5 };
  const small = { items: 50, batches: isQuick ? 16 : 240, rounds: isQuick ? 1 : 7, accept: 0.4 };
  const results: Result[] = [];
  for (const size of [large, small]) {
    results.push(
      await withWorld(bench, `predictions_${size.items}`, (world) => measure(world, size)),
    );
  }
  return results;
}

interface Size {
  readonly items: number;
  /** Of a round, over all connections. */
  readonly batches: number;
  readonly rounds: number;
  readonly accept: number;
}

async function measure(world: World, size: Size): Promise<Result> {
  const { items } = size;
  const { product, limit, ratio } = await race(
    createProduct(world, size),
    await createLimit(world, size),
    size.rounds,
  );
  const rate = (jobs: number) => `${Math.round(jobs * items).toLocaleString('en')} rows/s`;
  return {
    line: `logPredictions, ${items} a request, ${CONNECTIONS} connections`,
    figure: rate(product),
    limit: rate(limit),
    ratio,
    bound: { kind: 'at least', value: size.accept },
  };
}

function createProduct({ client }: World, size: Size): Contender {
  const nextBatch = createBatches(size.items);
  return {
    async prepare() {
      return deal(size.batches, () => {
        const body = makeBody(LOG_PREDICTIONS, { input: { account: 'main', items: nextBatch() } });
        return async () => assertCreated(await client.post(body), size.items);
      });
    },
  };
}

async function createLimit(world: World, size: Size): Promise<Contender> {
  const drivers = Array.from({ length: CONNECTIONS }, () => world.openDriver());
  await drivers[0]?.unsafe(createMonths());
  const nextBatch = createBatches(size.items);
  return {
    async prepare() {
      const statements = await Promise.all(
        Array.from({ length: size.batches }, () => toStatement(nextBatch())),
      );
      return deal(size.batches, (batch, connection) => {
        const [statement, driver] = [statements[batch], drivers[connection]];
        if (statement === undefined || driver === undefined) throw new Error('no such batch');
        return async () => {
          if ((await runStatement(driver, statement)) !== size.items) throw new Error('not stored');
        };
      });
    },
  };
}

/** Jobs dealt out to the connections in turn. */
function deal(
  batches: number,
  make: (batch: number, connection: number) => Job,
): readonly (readonly Job[])[] {
  const lists: Job[][] = Array.from({ length: CONNECTIONS }, () => []);
  for (let batch = 0; batch < batches; batch += 1) {
    lists[batch % CONNECTIONS]?.push(make(batch, batch % CONNECTIONS));
  }
  return lists;
}

/** Each call gives the next items of the seeded market: both sides get the same. */
export function createBatches(items: number): () => readonly LogPredictionItem[] {
  const source = makePredictions({ seed: SEED, startMs: START_MS, count: Number.MAX_SAFE_INTEGER });
  return () =>
    Array.from({ length: items }, () => {
      const next = source.next();
      if (next.done === true) throw new Error('the market has ended');
      return next.value;
    });
}

export function assertCreated(answer: string, items: number): void {
  if (!answer.includes(`"created":${items}`)) throw new Error(answer.slice(0, 500));
}

async function toStatement(items: readonly LogPredictionItem[]) {
  const capture = createCapture(items.length);
  const repository = createPredictionRepository(capture.sql, capture.recorder);
  await repository.insertMany('main', items.map(toRow));
  const [statement] = capture.statements;
  if (statement === undefined) throw new Error('nothing was captured');
  return statement;
}

function toRow(item: LogPredictionItem): NewPrediction {
  const { modelVersion, exchange, symbol, interval, predictedAt } = item;
  const content = JSON.stringify({ ...item, metadata: null });
  const key = JSON.stringify(['main', modelVersion, exchange, symbol, interval, predictedAt]);
  const id = uuidOfKey(Date.parse(predictedAt), key);
  const itemHash = id.replaceAll('-', '').padEnd(64, '0');
  const firstMinutes = Math.min(...item.horizons.map(({ horizonMinutes }) => horizonMinutes));
  return { id, predictedAt, firstMinutes, content, itemHash };
}

function createMonths(): string {
  return `
    select create_prediction_partitions((timestamp '2024-01-01' + n * interval '1 month')::date)
    from generate_series(0, ${MONTHS - 1}) as n`;
}
