import type postgres from 'postgres';

/**
 * Predictions as a year of trading leaves them, made by PostgreSQL through the real tables: every
 * 15 minutes each of 5 models speaks of each of 40 symbols, over 4 horizons. A horizon is right with
 * the probability that it claims, predicted returns follow the actual ones a little, and what is
 * over at the end has its outcome. The rest waits in the queue.
 */
export interface PredictionRows {
  readonly account: string;
  readonly count: number;
  /** The instant of the last ones. */
  readonly endMs: number;
}

const SYMBOLS = 40;
const MODELS = 5;
const STEP_MS = 900_000;
/** Of one statement. */
const STEPS = 1000;

/** The first instant of so many predictions. */
export function startOf({ count, endMs }: PredictionRows): number {
  return endMs - (Math.ceil(count / (SYMBOLS * MODELS)) - 1) * STEP_MS;
}

/** Inserts them with their horizons, and vacuums each month as PostgreSQL does by itself. */
export async function insertPredictions(
  driver: postgres.Sql,
  rows: PredictionRows,
  onProgress: (done: number) => void = () => undefined,
): Promise<void> {
  const startMs = startOf(rows);
  const [start, end] = [startMs, rows.endMs].map((ms) => new Date(ms).toISOString());
  await driver.unsafe(NOISE);
  await driver.unsafe(`select setseed(0.5)`);
  await driver.unsafe(`set synchronous_commit = off`);
  await driver.unsafe(
    `select create_prediction_partitions(day::date) from generate_series(
       date_trunc('month', $1::timestamptz), $2::timestamptz, interval '1 month') as day`,
    [start ?? '', end ?? ''],
  );
  for (let fromMs = startMs; fromMs <= rows.endMs; fromMs += STEPS * STEP_MS) {
    const toMs = Math.min(rows.endMs, fromMs + (STEPS - 1) * STEP_MS);
    const instants = [fromMs, toMs, rows.endMs].map((ms) => new Date(ms).toISOString());
    await driver.unsafe(INSERT, [rows.account, ...instants]);
    onProgress(Math.min(rows.count, ((toMs - startMs) / STEP_MS + 1) * SYMBOLS * MODELS));
  }
  const partitions = await driver<{ name: string }[]>`
    select inhrelid::regclass::text as name from pg_inherits
    where inhparent in ('predictions'::regclass, 'prediction_horizons'::regclass) order by 1`;
  for (const { name } of partitions) await driver.unsafe(`vacuum (analyze) ${name}`);
  await driver.unsafe('vacuum (analyze) outcome_queue');
}

/** Normal, by Box and Muller. */
const NOISE = `
  create or replace function pg_temp.noise() returns float8 language sql volatile as
  $$ select sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) $$`;

const INSERT = `
  with said as (
    insert into predictions (account_id, id, exchange, symbol, interval, model_version,
      predicted_at, price, signal, signal_confidence, risk_score, inference_time_ms, features,
      indicators, created_at, item_hash)
    select $1, (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7'
        || substr(digest, 1, 3) || '8' || substr(digest, 4, 15))::uuid,
      'bybit', 'S' || symbol || 'USDT', '15m', 'model-' || model, at, 100 + random()::numeric(9, 4),
      (array['LONG', 'SHORT', 'NEUTRAL'])[1 + floor(random() * 3)], 0.34 + 0.39 * random() ^ 2,
      random(), 9 + 6 * random(),
      array[random(), random(), random(), random(), random(), random(), random()],
      '{"rsi": 51.25, "rangeRatio": 0.0123, "trend": -0.0042}', at, decode(digest, 'hex')
    from generate_series($2::timestamptz, $3::timestamptz, interval '15 minutes') as at
    cross join generate_series(1, ${SYMBOLS}) as symbol
    cross join generate_series(1, ${MODELS}) as model
    cross join lateral (select md5(at::text || ' ' || symbol || ' ' || model) as digest) as hashed
    order by 2
    returning id, predicted_at
  ), expected as (
    select id, predicted_at, minutes, 0.34 + 0.39 * random() ^ 2 as confidence, threshold,
      threshold * 1.5 * pg_temp.noise() as change,
      predicted_at + minutes * interval '1 minute' <= $4::timestamptz as is_over
    from said cross join (values (15, 0.0015), (60, 0.003), (240, 0.007), (720, 0.01))
      as horizons (minutes, threshold)
  ), told as (
    select *, case when change > threshold then 'LONG' when change < -threshold then 'SHORT'
        else 'NEUTRAL' end as actual,
      0.1 * change + threshold * pg_temp.noise() as predicted
    from expected
  ), spoken as (
    select *, case when random() < confidence then actual
        else (array['LONG', 'SHORT', 'NEUTRAL'])[1 + floor(random() * 3)] end as direction
    from told
  ), horizons as (
    insert into prediction_horizons (account_id, prediction_id, horizon_minutes, direction,
      confidence, probability_long, probability_short, probability_neutral, predicted_return,
      actual_return, actual_direction, correct, return_error, resolved_at)
    select $1, id, minutes, direction, confidence, confidence, (1 - confidence) / 2,
      (1 - confidence) / 2, predicted, case when is_over then change end,
      case when is_over then actual end, case when is_over then direction = actual end,
      case when is_over then predicted - change end,
      case when is_over then predicted_at + minutes * interval '1 minute' end
    from spoken order by id, minutes
    returning prediction_id, horizon_minutes, resolved_at
  )
  insert into outcome_queue (account_id, due_at, prediction_id)
  select $1, predicted_at + min(horizon_minutes) * interval '1 minute', id
  from horizons join said on id = prediction_id where resolved_at is null
  group by id, predicted_at`;
