import type postgres from 'postgres';
import {
  createPredictionAccuracyRepository,
  type PredictionAccuracy,
} from '../datasources/prediction-accuracy.ts';
import { makeBody } from './client.ts';
import { createCapture, runStatement } from './driver-statement.ts';
import { insertPredictions, startOf } from './prediction-rows.ts';
import { type Contender, type Job, race } from './race.ts';
import type { Bench, Result } from './table.ts';
import { withWorld, type World } from './world.ts';

/**
 * `predictionAccuracy` over HTTP, by model and horizon, with every figure, over 1,000,000 outcomes,
 * against the bare driver in this process on the same database: once running the product's own
 * statement, which shows what is added to it, and once a plain statement of the same figures that
 * shares nothing with it, whose numbers must be the same. The driver's session plans partition by
 * partition, as the product's analytics lane does. No two requests are alike, so none is answered
 * from a cache.
 */
const ACCURACY = `
  query BenchAccuracy($where: PredictionWhere) {
    predictionAccuracy(account: "main", where: $where, groupBy: [MODEL_VERSION, HORIZON]) {
      modelVersion horizonMinutes total resolved pending correct
      accuracy { value low high samples }
      mae rmse bias meanConfidence brier ece informationCoefficient
      precisionLong precisionShort recallLong recallShort
      reliability { low high count meanConfidence accuracy } lowSample
    }
  }`;

const ACCEPT = 1.3;
const END_MS = Date.UTC(2026, 5, 30);
const DIMENSIONS = ['MODEL_VERSION', 'HORIZON'] as const;

type Figures = Omit<PredictionAccuracy, 'reliability'>;

export async function accuracyLines(bench: Bench): Promise<readonly Result[]> {
  const count = bench.isQuick ? 25_000 : 250_000;
  const rounds = bench.isQuick ? 1 : 5;
  return withWorld(bench, 'accuracy', async (world) => {
    const reader = world.openReader();
    const rows = { account: 'main', count, endMs: END_MS };
    await insertPredictions(reader, rows);
    await reader.unsafe(
      'set enable_partitionwise_join = on; set enable_partitionwise_aggregate = on',
    );
    const nextFrom = createInstants(startOf(rows));
    await assertSame(world, reader, nextFrom());
    const product = createContender(async (from) => {
      const answer = await world.client.post(makeBody(ACCURACY, { where: whereOf(from) }));
      if (!answer.includes('"informationCoefficient":0')) throw new Error(answer.slice(0, 500));
    }, nextFrom);
    const limits: readonly [string, (from: string) => Promise<unknown>][] = [
      ['its own statement', async (from) => runStatement(reader, await toStatement(from))],
      ['a plain statement', (from) => reader.unsafe(PLAIN, [from], { prepare: true })],
    ];
    const results: Result[] = [];
    for (const [name, run] of limits) {
      const limit = createContender(run, nextFrom);
      const measured = await race(product, limit, rounds);
      const seconds = (rate: number) => `${(1 / rate).toFixed(2)} s`;
      results.push({
        line: `predictionAccuracy, ${(count * 4).toLocaleString('en')} outcomes, against ${name}`,
        figure: seconds(measured.product),
        limit: seconds(measured.limit),
        ratio: 1 / measured.ratio,
        bound: { kind: 'at most', value: ACCEPT },
      });
    }
    return results;
  });
}

/** Instants before all predictions, each another one. */
function createInstants(startMs: number): () => string {
  let count = 0;
  return () => {
    count += 1;
    return `${new Date(startMs - count * 1000).toISOString().slice(0, 23)}000Z`;
  };
}

function whereOf(from: string) {
  return { predictedAt: { from } };
}

function createContender(
  run: (from: string) => Promise<unknown>,
  nextFrom: () => string,
): Contender {
  const job: Job = async () => {
    await run(nextFrom());
  };
  return { prepare: async () => [[job]] };
}

async function toStatement(from: string) {
  const capture = createCapture(0);
  const repository = createPredictionAccuracyRepository(capture.sql);
  const options = { hasInformationCoefficient: true, pairsMax: 5_000_000, limit: 10_001 };
  await repository.list('main', whereOf(from), DIMENSIONS, options);
  const [statement] = capture.statements;
  if (statement === undefined) throw new Error('nothing was captured');
  return statement;
}

/** @throws unless the product's figures are those of the plain statement */
async function assertSame({ client }: World, reader: postgres.Sql, from: string): Promise<void> {
  const { predictionAccuracy: found } = await client.query<{
    predictionAccuracy: readonly (Figures & { readonly [name: string]: unknown })[];
  }>(ACCURACY, { where: whereOf(from) });
  const expected = await reader.unsafe<Record<string, number | string>[]>(PLAIN, [from]);
  if (found.length !== expected.length || found.length === 0) throw new Error('groups differ');
  for (const [place, group] of found.entries()) {
    const figures: Record<string, unknown> = { ...group, ...group.accuracy };
    for (const [name, value] of Object.entries(expected[place] ?? {})) {
      const own = figures[name];
      const isSame = typeof own === 'number' ? Math.abs(own - Number(value)) < 1e-9 : own === value;
      if (!isSame) throw new Error(`${name} is ${own}, not ${value}`);
    }
  }
}

/** By the definitions, as one would write them down. */
const PLAIN = `
  with own as (
    select model_version, horizon_minutes, confidence, direction, actual_direction,
      predicted_return, actual_return, return_error as e, correct::int as o,
      least(9, floor(confidence * 10)) as bin
    from predictions p join prediction_horizons h on h.prediction_id = p.id
    where p.account_id = 'main' and h.account_id = 'main' and predicted_at >= $1::timestamptz
      and id >= uuid_at($1::timestamptz) and prediction_id >= uuid_at($1::timestamptz)
  ), figures as (
    select model_version, horizon_minutes, count(*)::int as total, count(o)::int as resolved,
      sum(o)::int as correct, avg(abs(e)) as mae, sqrt(avg(e * e)) as rmse, avg(e) as bias,
      avg(confidence) filter (where o is not null) as mean_confidence,
      avg((confidence - o) * (confidence - o)) as brier,
      avg(o) filter (where direction = 'LONG')::float8 as precision_long,
      avg(o) filter (where direction = 'SHORT')::float8 as precision_short,
      avg(o) filter (where actual_direction = 'LONG')::float8 as recall_long,
      avg(o) filter (where actual_direction = 'SHORT')::float8 as recall_short
    from own group by model_version, horizon_minutes
  ), bins as (
    select model_version, horizon_minutes, bin, count(o) as n, avg(confidence) as confidence,
      avg(o)::float8 as accuracy
    from own where o is not null group by model_version, horizon_minutes, bin
  ), calibration as (
    select model_version, horizon_minutes,
      sum(n * abs(accuracy - confidence)) / sum(n)::float8 as ece,
      json_agg(json_build_object('bin', bin, 'count', n, 'meanConfidence', confidence,
        'accuracy', accuracy) order by bin) as reliability
    from bins group by model_version, horizon_minutes
  ), ranked as (
    select model_version, horizon_minutes, rank() over x + count(*) over x as x,
      rank() over y + count(*) over y as y
    from own where e is not null
    window x as (partition by model_version, horizon_minutes order by predicted_return),
      y as (partition by model_version, horizon_minutes order by actual_return)
  ), correlation as (
    select model_version, horizon_minutes, corr(x, y) as ic from ranked
    group by model_version, horizon_minutes
  )
  select model_version as "modelVersion", horizon_minutes as "horizonMinutes", total, resolved,
    correct, mae, rmse, bias, mean_confidence as "meanConfidence", brier, ece,
    ic as "informationCoefficient", precision_long as "precisionLong",
    precision_short as "precisionShort", recall_long as "recallLong",
    recall_short as "recallShort", p as value,
    (p + z * z / 2 / resolved - z * sqrt(p * (1 - p) / resolved + z * z / 4 / resolved / resolved))
      / (1 + z * z / resolved) as low
  from figures
  join calibration using (model_version, horizon_minutes)
  join correlation using (model_version, horizon_minutes)
  cross join lateral (select correct::float8 / resolved as p, 1.959963984540054::float8 as z) as w
  order by model_version, horizon_minutes`;
