import { type Bucket, bucketStarts, bucketsPerYear, throwBucketError } from './bucket.ts';
import { fragment, type Sql, type SqlStatement } from './sql.ts';
import { type TradeWhere, tradeConditions } from './trade.ts';

/** What a bucket without trades shows: no point, nulls, zeros, or the values of the one before. */
export type Fill = 'NONE' | 'NULL' | 'ZERO' | 'PREVIOUS';

/** The trades of one bucket, and where the account stood at its end. */
export interface PnlPoint {
  /** When the bucket begins. */
  readonly at: string;
  readonly realizedPnl: string | null;
  readonly fees: string | null;
  readonly volume: string | null;
  readonly trades: number | null;
  readonly cumulativePnl: string | null;
  readonly drawdown: string | null;
}

export interface PnlSeries {
  readonly points: readonly PnlPoint[];
  readonly maxDrawdown: string;
  readonly maxDrawdownFrom: string | null;
  readonly maxDrawdownTo: string | null;
  readonly sharpe: number | null;
  readonly sortino: number | null;
}

type Columns = { readonly [Name in keyof PnlPoint]: readonly PnlPoint[Name][] | null };

type SeriesRow = Omit<PnlSeries, 'points'> & Columns & { readonly bucketCount: number };

export function createPnlSeriesRepository(sql: Sql) {
  return {
    /**
     * The trades that match, bucket by bucket, from the range of `where` or, where it has no end,
     * from that of the trades. Null when that are more than `bucketsMax` buckets.
     *
     * @throws AppError BAD_INPUT for a time zone that the database does not know
     */
    async find(
      accountId: string,
      where: TradeWhere,
      {
        fill,
        bucketsMax,
        ...bucket
      }: Bucket & { readonly fill: Fill; readonly bucketsMax: number },
    ): Promise<PnlSeries | null> {
      const [row] = await seriesStatement(sql, accountId, where, bucket, fill, bucketsMax).then(
        (rows) => rows,
        (error: unknown) => throwBucketError(error, bucket),
      );
      if (row === undefined) throw new Error('an aggregate gave no row');
      return row.bucketCount > bucketsMax ? null : toSeries(row);
    },
  };
}

function seriesStatement(
  sql: Sql,
  accountId: string,
  where: TradeWhere,
  bucket: Bucket,
  fill: Fill,
  bucketsMax: number,
) {
  const { from, to } = where.executedAt ?? {};
  const matching = fragment`account_id = ${accountId} ${tradeConditions(where)}`;
  // Ids are in the order of time, to the millisecond, and no bucket begins within one.
  const first = from
    ? fragment`${from}::timestamptz`
    : fragment`(select executed_at from trades where ${matching} order by id limit 1)`;
  const last = to
    ? fragment`${to}::timestamptz - interval '1 microsecond'`
    : fragment`(select executed_at from trades where ${matching} order by id desc limit 1)`;
  return sql<SeriesRow>`
    /* pnlSeries.find */
    with ends as materialized (
      select ${first} as first, ${last} as last
    ), starts as materialized (
      select at, row_number() over (order by at) as place from (
        select starts.at from ends cross join lateral (
          ${bucketStarts(bucket, fragment`first`, fragment`last`, bucketsMax)}) as starts) as cut
    ), grid as materialized (
      select array_agg(at order by place) as ats, count(*)::int as bucket_count from starts
    ), filled as materialized (
      select width_bucket(executed_at, (select ats from grid)) as place,
        sum(realized_pnl) as realized_pnl, coalesce(sum(commission) filter (
          where is_quote_asset(commission_asset, symbol, quote_asset)), 0) as fees,
        divide_half_even(sum(price * quantity), 1) as volume, count(*)::int as trades
      from trades left join instruments using (exchange, symbol)
      where ${matching} and (select bucket_count from grid) <= ${bucketsMax}
      group by 1
    ), flows as (
      select place, at, filled.trades is not null as has_trades,
        coalesce(realized_pnl - fees, 0) as net, max(filled.place) over (order by place) as last_place
      from starts left join filled using (place)
    ), levels as (
      select *, sum(net) over (order by place) as total from flows
    ), peaks as (
      select *, greatest(max(total) over (order by place), 0) as peak from levels
    ), falls as materialized (
      select *, peak - total as drawdown from peaks
    ), trough as (
      select place, at, peak, drawdown from falls
      where drawdown > 0 order by drawdown desc, place limit 1
    )
    select points.*, (select bucket_count from grid) as bucket_count,
      coalesce((select trim_scale(drawdown) from trough), 0) as max_drawdown,
      (select min(falls.at) from falls, trough
        where falls.place <= trough.place
          and (trough.peak = 0 or falls.total = trough.peak)) as max_drawdown_from,
      (select at from trough) as max_drawdown_to, ratios.*
    from (${pointColumns(fill)}) as points,
      (${ratioColumns(bucketsPerYear(bucket.size))}) as ratios`;
}

function toSeries({ bucketCount: _bucketCount, ...row }: SeriesRow): PnlSeries {
  const { maxDrawdown, maxDrawdownFrom, maxDrawdownTo, sharpe, sortino } = row;
  const points = (row.at ?? []).map((at, place) => ({
    at,
    realizedPnl: row.realizedPnl?.[place] ?? null,
    fees: row.fees?.[place] ?? null,
    volume: row.volume?.[place] ?? null,
    trades: row.trades?.[place] ?? null,
    cumulativePnl: row.cumulativePnl?.[place] ?? null,
    drawdown: row.drawdown?.[place] ?? null,
  }));
  return { points, maxDrawdown, maxDrawdownFrom, maxDrawdownTo, sharpe, sortino };
}

/** Each column of the points as one array. */
function pointColumns(fill: Fill): SqlStatement<unknown> {
  const { source, isShown, isKnown } = FILLS[fill];
  const zero = fill === 'ZERO' ? fragment`0` : fragment`null`;
  return fragment`
    select array_agg(at order by place) as at,
      array_agg(trim_scale(coalesce(realized_pnl, ${zero})) order by place) as realized_pnl,
      array_agg(trim_scale(coalesce(fees, ${zero})) order by place) as fees,
      array_agg(trim_scale(coalesce(volume, ${zero})) order by place) as volume,
      array_agg(coalesce(trades, ${zero}) order by place) as trades,
      array_agg(case when ${isKnown} then trim_scale(total) end order by place) as cumulative_pnl,
      array_agg(case when ${isKnown} then trim_scale(drawdown) end order by place) as drawdown
    from (
      select falls.place, at, has_trades, last_place, total, drawdown, filled.realized_pnl,
        filled.fees, filled.volume, filled.trades
      from falls left join filled on filled.place = falls.${source}) as shown
    where ${isShown}`;
}

/** Where an empty bucket takes its values from, which points there are, and which have a level. */
const FILLS = {
  NONE: { source: fragment`place`, isShown: fragment`has_trades`, isKnown: fragment`true` },
  NULL: { source: fragment`place`, isShown: fragment`true`, isKnown: fragment`has_trades` },
  ZERO: { source: fragment`place`, isShown: fragment`true`, isKnown: fragment`true` },
  PREVIOUS: {
    source: fragment`last_place`,
    isShown: fragment`true`,
    isKnown: fragment`last_place is not null`,
  },
} as const satisfies Record<Fill, Readonly<Record<string, SqlStatement<unknown>>>>;

/** Over every bucket of the range, an empty one as 0, exact up to the root. */
function ratioColumns(perYear: number): SqlStatement<unknown> {
  return fragment`
    select case when count(*) > 1 then
        (avg(net) / nullif(stddev_samp(net), 0))::float8 * sqrt(${perYear}::float8) end as sharpe,
      case when count(*) > 1 then
        (avg(net) / nullif(sqrt(avg(least(net, 0) * least(net, 0))), 0))::float8
          * sqrt(${perYear}::float8) end as sortino
    from falls`;
}
