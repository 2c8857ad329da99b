import { makeBody } from './client.ts';
import { captureFrame, valuesOf } from './frame-statement.ts';
import { assertCreated, createBatches, LOG_PREDICTIONS } from './predictions.ts';
import { race } from './race.ts';
import { median, type Bench, type Result } from './table.ts';
import { withWorld, type World } from './world.ts';

/**
 * `predictionFrame` of 100,000 rows and 8 columns over HTTP, from the request to the last byte as
 * text, against: the driver in this process, on one connection, running the very statements of the
 * product on the same rows, all chunks by one; and the same rows from the product as pages of 500, one after the other. Then five such
 * frames at once, and how late the server's event loop is meanwhile: the product, PostgreSQL and
 * this process share the machine, so it waits for them as well.
 */
const ROWS = 100_000;
const COLUMNS = [
  'predictedAt',
  'symbol',
  'modelVersion',
  'signal',
  'signalConfidence',
  'price',
  'riskScore',
  'inferenceTimeMs',
];
const ITEMS = 1000;
const PAGE_ROWS = 500;
const AT_ONCE = 5;
const LOOP_DELAY_MS_MAX = 50;

const FRAME = `query BenchFrame {
  predictionFrame(account: "main", limit: ${ROWS}) { count ${COLUMNS.join(' ')} }
}`;
/** Under another name each time, so that no answer of an earlier round is given again. */
const pageOf = (round: number) => `query BenchPage${round}($after: String) {
  predictions(account: "main", first: ${PAGE_ROWS}, after: $after) {
    nodes { ${COLUMNS.join(' ')} } pageInfo { endCursor hasNextPage }
  }
}`;

export async function frameLines(bench: Bench): Promise<readonly Result[]> {
  return withWorld(bench, 'frames', async (world) => {
    await logPredictions(world);
    return [
      await againstDriver(world, bench.isQuick ? 3 : 11),
      await againstPages(world, bench.isQuick ? 1 : 3),
      await loopDelay(world, bench.isQuick ? 3 : 10),
    ];
  });
}

async function logPredictions({ client, openReader }: World): Promise<void> {
  const nextBatch = createBatches(ITEMS);
  for (let rows = 0; rows < ROWS; rows += ITEMS) {
    // Horizons are not read: without them there are as many rows sooner.
    const items = nextBatch().map((item) => ({ ...item, horizons: [] }));
    const body = makeBody(LOG_PREDICTIONS, { input: { account: 'main', items } });
    assertCreated(await client.post(body), ITEMS);
  }
  // As autovacuum leaves it.
  await openReader()`vacuum analyze`;
}

async function againstDriver(world: World, rounds: number): Promise<Result> {
  const driver = world.openReader();
  const { find, read } = await captureFrame(driver, (frames) =>
    frames.readPredictions(
      'main',
      {},
      {
        columns: new Map(COLUMNS.map((name) => [name, 1])),
        limit: ROWS,
        decimals: 'STRING',
        bytesMax: Number.MAX_SAFE_INTEGER,
      },
    ),
  );
  const readByDriver = async () => {
    let rows = 0;
    for (const statement of [find, read]) {
      const chunks = await driver.unsafe(statement.text, valuesOf(statement), { prepare: true });
      for (const { count = 0 } of chunks) rows += Number(count);
    }
    if (rows !== ROWS) throw new Error(`${rows} rows`);
  };
  const contenders = [() => readFrame(world), readByDriver] as const;
  const [product, limit] = contenders.map((job) => ({ prepare: async () => [[job]] }));
  if (product === undefined || limit === undefined) throw new Error('there are two');
  const rates = await race(product, limit, rounds);
  return {
    line: `predictionFrame, ${ROWS.toLocaleString('en')} rows x ${COLUMNS.length} columns`,
    figure: milliseconds(1000 / rates.product),
    limit: milliseconds(1000 / rates.limit),
    ratio: 1 / rates.ratio,
    bound: { kind: 'at most', value: 1.6 },
  };
}

async function againstPages(world: World, rounds: number): Promise<Result> {
  const ratios: number[] = [];
  const [frames, pages]: number[][] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    const page = await timeOf(() => readPages(world, round));
    const frame = await timeOf(() => readFrame(world));
    ratios.push(page / frame);
    frames?.push(frame);
    pages?.push(page);
  }
  return {
    line: `the same as pages of ${PAGE_ROWS}, by the frame`,
    figure: milliseconds(median(pages ?? [])),
    limit: milliseconds(median(frames ?? [])),
    ratio: median(ratios),
    bound: { kind: 'at least', value: 10 },
  };
}

async function loopDelay(world: World, rounds: number): Promise<Result> {
  world.resetLoopDelay();
  for (let round = 0; round < rounds; round += 1) {
    await Promise.all(Array.from({ length: AT_ONCE }, () => readFrame(world)));
  }
  const delayMs = await world.readLoopDelayP99();
  return {
    line: `event loop while ${AT_ONCE} such frames run, p99`,
    figure: milliseconds(delayMs),
    limit: milliseconds(LOOP_DELAY_MS_MAX),
    ratio: delayMs / LOOP_DELAY_MS_MAX,
    bound: { kind: 'at most', value: 1 },
  };
}

const FRAME_BODY = makeBody(FRAME, {});

async function readFrame({ client }: World): Promise<void> {
  const answer = await client.post(FRAME_BODY);
  if (!answer.startsWith(`{"data":{"predictionFrame":{"count":${ROWS},`)) {
    throw new Error(answer.slice(0, 500));
  }
}

interface Page {
  readonly predictions: {
    readonly nodes: readonly unknown[];
    readonly pageInfo: { readonly endCursor: string; readonly hasNextPage: boolean };
  };
}

async function readPages({ client }: World, round: number): Promise<void> {
  let rows = 0;
  let after: string | null = null;
  do {
    const { predictions }: Page = await client.query<Page>(pageOf(round), { after });
    rows += predictions.nodes.length;
    after = predictions.pageInfo.hasNextPage ? predictions.pageInfo.endCursor : null;
  } while (after !== null);
  if (rows !== ROWS) throw new Error(`${rows} rows in pages`);
}

async function timeOf(work: () => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

function milliseconds(ms: number): string {
  return `${ms.toFixed(ms < 100 ? 1 : 0)} ms`;
}
