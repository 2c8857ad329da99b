import { type Bucket, bucketSpans, throwBucketError } from './bucket.ts';
import type { Fill } from './pnl-series.ts';
import { predictionConditions, type PredictionWhere } from './prediction.ts';
import { fragment, type Sql, type SqlStatement } from './sql.ts';

/** What models said within one bucket, or altogether. */
export interface PredictionStats {
  /** When the bucket begins; null: there are no buckets. */
  readonly at: string | null;
  readonly total: number;
  readonly long: number;
  readonly short: number;
  readonly neutral: number;
  readonly meanConfidence: number | null;
  readonly meanRisk: number | null;
  readonly symbols: number;
  readonly inferenceMsMean: number | null;
  /** Null too when it was not asked for. */
  readonly inferenceMsP95: number | null;
  readonly perMinute: number | null;
}

export interface StatsWanted {
  /** The percentile sorts every prediction; the rest is summed up. */
  readonly hasPercentile: boolean;
}

export function createPredictionStatsRepository(sql: Sql) {
  return {
    /** The predictions that match, altogether. */
    async get(
      accountId: string,
      where: PredictionWhere,
      wanted: StatsWanted,
    ): Promise<PredictionStats> {
      const { from, to } = where.predictedAt ?? {};
      const first = from ? fragment`${from}::timestamptz` : fragment`first`;
      const last = to ? fragment`${to}::timestamptz` : fragment`last`;
      const [row] = await sql<PredictionStats>`
        /* predictionStats.get */
        with ${sumsOf(accountId, where, wanted, fragment`0`)}
        select null as at, ${COUNTS}, mean_confidence, mean_risk,
          inference_ms_mean, inference_ms_p95,
          coalesce(total, 0) / nullif(extract(epoch from ${last} - ${first}), 0)::float8 * 60
            as per_minute
        from (select 0 as place) as whole left join filled using (place) left join slowest using (place)`;
      if (row === undefined) throw new Error('a row without conditions was not given');
      return row;
    },

    /**
     * The predictions that match, bucket by bucket, from the range of `where` or, where it has no
     * end, from that of the predictions. Null when that are more than `bucketsMax` buckets.
     *
     * @throws AppError BAD_INPUT for a time zone that the database does not know
     */
    async list(
      accountId: string,
      where: PredictionWhere,
      wanted: StatsWanted,
      {
        fill,
        bucketsMax,
        ...bucket
      }: Bucket & { readonly fill: Fill; readonly bucketsMax: number },
    ): Promise<readonly PredictionStats[] | null> {
      const { source, isShown, none } = FILLS[fill];
      const place = fragment`width_bucket(predicted_at, (select ats from grid))`;
      const bound = fragment`and (select bucket_count from grid) <= ${bucketsMax}`;
      const rows = await sql<PredictionStats & { readonly bucketCount: number }>`
        /* predictionStats.list */
        with ends as materialized (
          select ${endsOf(accountId, where)}
        ), spans as materialized (
          select at, until, row_number() over (order by at)::int as place from (
            select spans.* from ends cross join lateral (
              ${bucketSpans(bucket, fragment`first`, fragment`last`, bucketsMax)}) as spans) as cut
        ), grid as materialized (
          select array_agg(at order by place) as ats, count(*)::int as bucket_count from spans
        ), ${sumsOf(accountId, where, wanted, place, bound)}
        , shown as (
          select spans.*, filled.place is not null as has_rows,
            max(filled.place) over (order by spans.place) as last_place
          from spans left join filled on filled.place = spans.place
        )
        select shown.at, ${COUNTS}, mean_confidence, mean_risk, inference_ms_mean,
          inference_ms_p95,
          coalesce(total, ${none}) / extract(epoch from source.until - source.at)::float8 * 60
            as per_minute, (select bucket_count from grid) as bucket_count
        from shown
        left join spans as source on source.place = shown.${source}
        left join filled on filled.place = source.place
        left join slowest on slowest.place = source.place
        where ${isShown}
        order by shown.place`.then(
        (found) => found,
        (error: unknown) => throwBucketError(error, bucket),
      );
      const [first] = rows;
      if (first !== undefined && first.bucketCount > bucketsMax) return null;
      return rows.map(({ bucketCount: _bucketCount, ...stats }) => stats);
    },
  };
}

/** The ends of a series: those of the range, else of the predictions that match. */
function endsOf(accountId: string, where: PredictionWhere): SqlStatement<unknown> {
  const { from, to } = where.predictedAt ?? {};
  const matching = fragment`
    select predicted_at from predictions
    where account_id = ${accountId} ${predictionConditions(where)}`;
  // Ids are in the order of time, to the millisecond, and no bucket begins within one.
  const first = from ? fragment`${from}::timestamptz` : fragment`(${matching} order by id limit 1)`;
  const last = to
    ? fragment`${to}::timestamptz - interval '1 microsecond'`
    : fragment`(${matching} order by id desc limit 1)`;
  return fragment`${first} as first, ${last} as last`;
}

/** The tables `filled` and `slowest`, by the place of each prediction. */
function sumsOf(
  accountId: string,
  where: PredictionWhere,
  { hasPercentile }: StatsWanted,
  place: SqlStatement<unknown>,
  bound: SqlStatement<unknown> = fragment``,
): SqlStatement<unknown> {
  const matching = fragment`
    from predictions where account_id = ${accountId} ${predictionConditions(where)} ${bound}`;
  // A percentile of no rows costs nothing, and keeps the statement in one shape.
  const timed = hasPercentile ? fragment`and inference_time_ms is not null` : fragment`and false`;
  return fragment`
    parts as (
      -- By symbol first: to count what is distinct would sort every prediction.
      select place, symbol, count(*) as n, count(*) filter (where signal = 'LONG') as n_long,
        count(*) filter (where signal = 'SHORT') as n_short, sum(signal_confidence) as confidence,
        sum(risk_score) as risk, count(risk_score) as n_risk, sum(inference_time_ms) as ms,
        count(inference_time_ms) as n_ms, min(predicted_at) as first, max(predicted_at) as last
      from (
        select ${place} as place, symbol, signal, signal_confidence, risk_score,
          inference_time_ms, predicted_at
        ${matching}
      ) as placed
      group by place, symbol
    ), filled as materialized (
      select place, sum(n)::int as total, sum(n_long)::int as n_long, sum(n_short)::int as n_short,
        sum(confidence) / sum(n)::float8 as mean_confidence,
        sum(risk) / nullif(sum(n_risk), 0)::float8 as mean_risk, count(*)::int as n_symbols,
        sum(ms) / nullif(sum(n_ms), 0)::float8 as inference_ms_mean, min(first) as first,
        max(last) as last
      from parts group by place
    ), slowest as materialized (
      select place, percentile_disc(0.95) within group (order by inference_time_ms)
          as inference_ms_p95
      from (select ${place} as place, inference_time_ms ${matching} ${timed}) as timed
      group by place
    )`;
}

/** A bucket without rows counts none, whatever fills its means. */
const COUNTS = fragment`
  coalesce(total, 0) as total, coalesce(n_long, 0) as long, coalesce(n_short, 0) as short,
  coalesce(total - n_long - n_short, 0) as neutral, coalesce(n_symbols, 0) as symbols`;

/** Where an empty bucket takes its values from, which there are, and what a rate of none is. */
const FILLS = {
  NONE: { source: fragment`place`, isShown: fragment`has_rows`, none: fragment`null` },
  NULL: { source: fragment`place`, isShown: fragment`true`, none: fragment`null` },
  ZERO: { source: fragment`place`, isShown: fragment`true`, none: fragment`0` },
  PREVIOUS: { source: fragment`last_place`, isShown: fragment`true`, none: fragment`null` },
} as const satisfies Record<Fill, Readonly<Record<string, SqlStatement<unknown>>>>;
