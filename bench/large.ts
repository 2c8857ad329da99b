import { parseArgs } from 'node:util';
import type postgres from 'postgres';
import { createFrameRepository } from '../datasources/frame.ts';
import { createPredictionRepository } from '../datasources/prediction.ts';
import { createPredictionAccuracyRepository } from '../datasources/prediction-accuracy.ts';
import { createPredictionStatsRepository } from '../datasources/prediction-stats.ts';
import { type CompiledStatement, createSql, type Sql } from '../datasources/sql.ts';
import { makeBody } from './client.ts';
import { createCapture } from './driver-statement.ts';
import { runRaw, snapshotsOf, valuesOf } from './frame-statement.ts';
import { insertPredictions, startOf } from './prediction-rows.ts';
import { formatTable, isMet, median, type Result } from './table.ts';
import { startPostgres, withWorld, type World } from './world.ts';

/**
 * `npm run bench:large`: what is asked most of many predictions, over HTTP, one request after the
 * other, each of another instant so that none is answered from a cache; and what PostgreSQL does for
 * it. The plans are those of the product's lanes: the months have the statistics that autovacuum
 * makes, and the partitioned tables have none, as in a database that nobody analyzes by hand.
 */
const COUNT = 10_000_000;
const RUNS = 9;
/** Well under a second. */
const FIRST_SCREEN_MS = 500;
const DAY_MS = 86_400_000;
const SYMBOLS = Array.from({ length: 40 }, (_none, place) => `S${place + 1}USDT`);
const USAGE = `node bench/large.ts [--count <predictions>]

  --count <predictions>  how many are built (default ${COUNT}); BENCH_LARGE_COUNT says the same
`;

const FAILED = 1;
const WRONG_USAGE = 2;

interface Question {
  readonly name: string;
  readonly query: string;
  /** Milliseconds that the median may take. */
  readonly acceptMs: number;
  variables(toMs: number): object;
  /** Runs on the lane's connection what the product runs. */
  statement(sql: Sql, toMs: number): PromiseLike<unknown>;
}

async function main(): Promise<number> {
  const count = readCount();
  if (count === null) {
    process.stderr.write(USAGE);
    return WRONG_USAGE;
  }
  const endMs = Math.floor(Date.now() / 900_000) * 900_000;
  const rows = { account: 'main', count, endMs };
  const postgres = await startPostgres();
  try {
    const bench = { postgres, isQuick: false, profileFolder: null };
    return await withWorld(bench, 'large', async (world) => {
      const reader = world.openReader();
      const builtMs = await timed(() => insertPredictions(reader, rows, showProgress(count)));
      process.stdout.write(`\n${await describeTables(reader, count, startOf(rows), builtMs)}\n`);
      const results: Result[] = [];
      for (const question of QUESTIONS) results.push(await measure(world, question, endMs));
      process.stdout.write(`${formatTable(results)}\n`);
      for (const question of QUESTIONS) {
        process.stdout.write(`${question.name}\n${await explain(reader, question, endMs)}\n\n`);
      }
      return results.every(isMet) ? 0 : FAILED;
    });
  } finally {
    await postgres.stop();
  }
}

function readCount(): number | null {
  try {
    const { values } = parseArgs({ options: { count: { type: 'string' } } });
    const count = Number(values.count ?? process.env.BENCH_LARGE_COUNT ?? COUNT);
    return Number.isSafeInteger(count) && count > 0 ? count : null;
  } catch {
    // parseArgs says what it did not know; the usage says what is known.
    return null;
  }
}

/** A line for each tenth. */
function showProgress(count: number): (done: number) => void {
  let shown = 0;
  return (done) => {
    const tenth = Math.floor((done / count) * 10);
    if (tenth === shown) return;
    shown = tenth;
    process.stderr.write(`${done.toLocaleString('en')} predictions …\n`);
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

async function describeTables(
  reader: postgres.Sql,
  count: number,
  startMs: number,
  builtMs: number,
): Promise<string> {
  const tables = await reader<{ name: string; partitions: string; bytes: string }[]>`
    select p.relname as name, count(*)::text as partitions,
      pg_size_pretty(sum(pg_total_relation_size(i.inhrelid))) as bytes
    from pg_inherits i join pg_class p on p.oid = i.inhparent
    where p.relname in ('predictions', 'prediction_horizons') group by 1 order by 1 desc`;
  const sizes = tables.map(
    ({ name, partitions, bytes }) => `${name}: ${bytes} in ${partitions} months`,
  );
  const from = new Date(startMs).toISOString().slice(0, 10);
  const seconds = (builtMs / 1000).toFixed(0);
  const built = `${count.toLocaleString('en')} predictions with 4 horizons each since ${from}`;
  return `${built}, built in ${seconds} s\n${sizes.join('\n')}`;
}

async function measure({ client }: World, question: Question, endMs: number): Promise<Result> {
  const times: number[] = [];
  for (let run = 0; run <= RUNS; run += 1) {
    const body = makeBody(question.query, question.variables(endMs - run));
    const ms = await timed(async () => {
      const answer = await client.post(body);
      if (answer.includes('"errors"')) throw new Error(answer.slice(0, 500));
    });
    // The first one opens connections and fills what is cold.
    if (run > 0) times.push(ms);
  }
  const ms = median(times);
  const { acceptMs } = question;
  return {
    line: question.name,
    figure: `${ms.toFixed(0)} ms`,
    limit: `${acceptMs} ms`,
    ratio: ms / acceptMs,
    bound: { kind: 'at most', value: 1 },
  };
}

async function explain(reader: postgres.Sql, question: Question, endMs: number): Promise<string> {
  const statements: CompiledStatement[] = [];
  const capture = createSql(async (statement) => {
    // Where the chunks of a frame lie has to be known before they are asked for.
    if (statement.name === 'frames.findChunks') return runRaw(reader, statement);
    statements.push(statement);
    return Object.assign([], { count: 0, command: 'CAPTURED' });
  });
  // It is answered with no rows, which some of them do not expect.
  await Promise.resolve(question.statement(capture, endMs)).catch(() => undefined);
  const [statement] = statements;
  if (statement === undefined) throw new Error('nothing was captured');
  await reader.unsafe(
    'set enable_partitionwise_join = on; set enable_partitionwise_aggregate = on',
  );
  const plan = await reader.unsafe<{ 'QUERY PLAN': string }[]>(
    `explain (analyze, costs off, timing off, buffers off) ${statement.text}`,
    valuesOf(statement),
  );
  return plan
    .map((row) => row['QUERY PLAN'])
    .filter((line) => !line.includes('never executed'))
    .map((line) => line.slice(0, 160))
    .join('\n');
}

function instantOf(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 23)}000Z`;
}

function lastDay(toMs: number) {
  return { predictedAt: { from: instantOf(toMs - DAY_MS), to: instantOf(toMs) } };
}

function pendingUntil(toMs: number) {
  return { predictedAt: { to: instantOf(toMs) }, resolved: false };
}

const FIGURES = `
  modelVersion horizonMinutes total resolved pending correct accuracy { value low high samples }
  mae rmse bias meanConfidence brier ece precisionLong precisionShort recallLong recallShort
  reliability { low high count meanConfidence accuracy } lowSample`;

const accuracyOf = (days: number, hasInformationCoefficient: boolean) => {
  const whereOf = (toMs: number) => ({
    predictedAt: { from: instantOf(toMs - days * DAY_MS), to: instantOf(toMs) },
  });
  return {
    query: `query ($where: PredictionWhere) {
      predictionAccuracy(account: "main", where: $where, groupBy: [MODEL_VERSION, HORIZON]) {
        ${FIGURES} ${hasInformationCoefficient ? 'informationCoefficient' : ''}
      }
    }`,
    variables: (toMs: number) => ({ where: whereOf(toMs) }),
    statement: (sql: Sql, toMs: number) =>
      createPredictionAccuracyRepository(sql).list(
        'main',
        whereOf(toMs),
        ['MODEL_VERSION', 'HORIZON'],
        { hasInformationCoefficient, pairsMax: 5_000_000, limit: 10_001 },
      ),
  };
};

const predictionsOf = (sql: Sql) => createPredictionRepository(sql, createCapture(0).recorder);

const QUESTIONS: readonly Question[] = [
  {
    name: 'first screen: accuracy of the last day by model and horizon',
    acceptMs: FIRST_SCREEN_MS,
    ...accuracyOf(1, false),
  },
  {
    name: 'the same with the information coefficient',
    acceptMs: 2 * FIRST_SCREEN_MS,
    ...accuracyOf(1, true),
  },
  {
    name: 'accuracy of the last 30 days by model and horizon',
    acceptMs: 5000,
    ...accuracyOf(30, false),
  },
  {
    name: 'predictionStats of the last day by hour',
    acceptMs: FIRST_SCREEN_MS,
    query: `query ($where: PredictionWhere) {
      predictionStats(account: "main", where: $where, bucket: { size: "1h" }) {
        at total long short neutral meanConfidence meanRisk symbols inferenceMsMean perMinute
      }
    }`,
    variables: (toMs) => ({ where: lastDay(toMs) }),
    statement: (sql, toMs) =>
      createPredictionStatsRepository(sql).list(
        'main',
        lastDay(toMs),
        { hasPercentile: false },
        { size: '1h', timeZone: 'UTC', fill: 'ZERO', bucketsMax: 10_000 },
      ),
  },
  {
    name: 'a page of 50 with their horizons and outcomes',
    acceptMs: 100,
    query: `query ($where: PredictionWhere) {
      predictions(account: "main", where: $where, first: 50) {
        nodes {
          id symbol modelVersion predictedAt signal signalConfidence
          horizons { horizonMinutes direction confidence outcome { actualReturn correct } }
        }
        pageInfo { hasNextPage endCursor }
      }
    }`,
    variables: (toMs) => ({ where: { predictedAt: { to: instantOf(toMs) } } }),
    statement: (sql, toMs) =>
      predictionsOf(sql).list(
        'main',
        { predictedAt: { to: instantOf(toMs) } },
        { after: null, before: null, isDescending: true, limit: 51 },
      ),
  },
  {
    name: 'a page of 50 with a horizon that is pending',
    acceptMs: 100,
    query: `query ($where: PredictionWhere) {
      predictions(account: "main", where: $where, first: 50) {
        nodes { id symbol modelVersion predictedAt signal signalConfidence }
      }
    }`,
    variables: (toMs) => ({ where: pendingUntil(toMs) }),
    statement: (sql, toMs) =>
      predictionsOf(sql).list('main', pendingUntil(toMs), {
        after: null,
        before: null,
        isDescending: true,
        limit: 51,
      }),
  },
  {
    name: 'latestPredictions of 40 symbols',
    acceptMs: 100,
    query: `query ($symbols: [String!]!) {
      latestPredictions(account: "main", symbols: $symbols) {
        symbol modelVersion predictedAt signal signalConfidence
      }
    }`,
    // In another order each time.
    variables: (toMs) => ({
      symbols: SYMBOLS.map((_name, place) => SYMBOLS[(place + (toMs % 40)) % 40]),
    }),
    statement: (sql) => predictionsOf(sql).listLatest('main', SYMBOLS, null),
  },
  {
    name: 'predictionFrame, the newest 100,000 rows x 8 columns',
    acceptMs: 2000,
    query: `query ($where: PredictionWhere) {
      predictionFrame(account: "main", where: $where, limit: 100000) {
        count predictedAt symbol modelVersion signal signalConfidence price riskScore
        inferenceTimeMs
      }
    }`,
    variables: (toMs) => ({ where: { predictedAt: { to: instantOf(toMs) } } }),
    statement: (sql, toMs) =>
      createFrameRepository(snapshotsOf(sql)).readPredictions(
        'main',
        { predictedAt: { to: instantOf(toMs) } },
        {
          columns: new Map(FRAME_COLUMNS.map((name) => [name, 1])),
          limit: 100_000,
          decimals: 'STRING',
          bytesMax: 2 ** 26,
        },
      ),
  },
];

const FRAME_COLUMNS = [
  'predictedAt',
  'symbol',
  'modelVersion',
  'signal',
  'signalConfidence',
  'price',
  'riskScore',
  'inferenceTimeMs',
];

process.exitCode = await main();
