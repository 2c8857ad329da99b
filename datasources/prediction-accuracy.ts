import { idsWithin } from './keyset.ts';
import { type Direction, predictionConditions, type PredictionWhere } from './prediction.ts';
import { fragment, type Sql, type SqlStatement } from './sql.ts';

export type AccuracyDimension =
  | 'MODEL_VERSION'
  | 'SYMBOL'
  | 'HORIZON'
  | 'DIRECTION'
  | 'CONFIDENCE_BUCKET'
  | 'DAY';

/** A share with its 95 % interval. */
export interface Rate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly samples: number;
}

/** The resolved horizons of one tenth of the confidences. */
export interface ReliabilityBin {
  readonly low: number;
  readonly high: number;
  readonly count: number;
  /** Null where the bin is empty. */
  readonly meanConfidence: number | null;
  readonly accuracy: number | null;
}

/** How good the horizons of one group were. A dimension that is not grouped by is null. */
export interface PredictionAccuracy {
  readonly modelVersion: string | null;
  readonly symbol: string | null;
  readonly horizonMinutes: number | null;
  readonly direction: Direction | null;
  /** `0.3-0.4` */
  readonly confidenceBucket: string | null;
  readonly day: string | null;
  readonly total: number;
  readonly resolved: number;
  readonly pending: number;
  readonly correct: number;
  readonly accuracy: Rate | null;
  readonly mae: number | null;
  readonly rmse: number | null;
  readonly bias: number | null;
  readonly meanConfidence: number | null;
  readonly brier: number | null;
  readonly ece: number | null;
  /** Null too when it was not asked for. */
  readonly informationCoefficient: number | null;
  readonly precisionLong: number | null;
  readonly precisionShort: number | null;
  readonly recallLong: number | null;
  readonly recallShort: number | null;
  /** Ten, from 0 up. */
  readonly reliability: readonly ReliabilityBin[];
}

type Figures = Omit<
  PredictionAccuracy,
  keyof typeof NO_KEYS | 'confidenceBucket' | 'pending' | 'accuracy' | 'reliability'
>;

/** What is grouped by is there, and no other key. */
type Row = Figures &
  Partial<Omit<PredictionAccuracy, keyof Figures | 'accuracy'>> & {
    readonly keyDirection?: Direction;
    readonly confidenceBin?: number;
    readonly accuracy: number | null;
    readonly low: number;
    readonly high: number;
    /** Of all groups: horizons with a predicted and an actual return. */
    readonly pairs: number | null;
    readonly bins: readonly (Omit<ReliabilityBin, 'low' | 'high'> & { readonly bin: number })[];
  };

const NO_KEYS = {
  modelVersion: null,
  symbol: null,
  horizonMinutes: null,
  day: null,
};

const BINS = 10;

/** The 97.5th percentile of the normal distribution: 95 % lie within it on both sides. */
const Z = 1.959963984540054;

export interface AccuracyOptions {
  readonly hasInformationCoefficient: boolean;
  /** Horizons with a predicted and an actual return that are ranked for it: they take memory. */
  readonly pairsMax: number;
  /** Groups. */
  readonly limit: number;
}

export function createPredictionAccuracyRepository(sql: Sql) {
  return {
    /**
     * The horizons of the predictions that match, by these dimensions and in their order, at most
     * `limit` groups; without dimensions one row, whatever there is. Null when the information
     * coefficient is asked for and would rank more than `pairsMax`. One statement, which reads the
     * horizons once, and once more to rank them.
     */
    async list(
      accountId: string,
      where: PredictionWhere,
      dimensions: readonly AccuracyDimension[],
      { hasInformationCoefficient, pairsMax, limit }: AccuracyOptions,
    ): Promise<readonly PredictionAccuracy[] | null> {
      const keys = dimensions.map((dimension) => KEYS[dimension]);
      const names = keys.map(({ name }) => name);
      const order =
        names.length === 0 ? fragment`` : fragment`order by ${listed(names.map(ordered))}`;
      const own = fragment`(
        select predictions.model_version, predictions.symbol, predictions.predicted_at, h.*
        from predictions join prediction_horizons h on h.prediction_id = predictions.id
        where predictions.account_id = ${accountId} and h.account_id = ${accountId}
          ${predictionConditions(where)}
          ${idsWithin(fragment`h.prediction_id`, where.predictedAt)}) as own`;
      const counted = keys.filter(({ told }) => told === null);
      const rows = await sql<Row>`
        /* predictionAccuracy.list */
        with counted as (
          select ${each(counted.map(({ name }) => name))} ${MARKS}, count(*) as n,
            sum(confidence) as c, sum(confidence * confidence) as cc,
            count(return_error) as errors, sum(return_error) as e,
            sum(abs(return_error)) as abs_e, sum(return_error * return_error) as ee
          from (
            select ${each(counted.map(named))} confidence, floor(confidence * 10)::int as tenth,
              direction, actual_direction, correct, return_error
            from ${own}) as measured
          group by ${each(counted.map(({ name }) => name))} ${MARK_NAMES}
        ), told as (
          select *, ${BIN} as bin,
            case when said_long then 'LONG' when said_short then 'SHORT' else 'NEUTRAL' end as said
          from counted
        ) ${hasInformationCoefficient ? correlated(keys, own, pairsMax) : fragment``}
        , binned as (
          select ${each(keys.map(({ name, told }) => (told === null ? name : fragment`${told} as ${name}`)))}
            bin, ${SUMS}, null::float8 as correlation
          from told group by ${each(keys.map(({ name, told }) => told ?? name))} bin
          ${hasInformationCoefficient ? correlationRows(names) : fragment``}
        ), grouped as (
          select ${each(names)} ${FIGURES} from binned ${groupedBy(names)}
        )
        select ${each(names)} total, resolved, correct, accuracy, centre - spread as low,
          centre + spread as high, mae, rmse, bias, mean_confidence, brier, ece,
          information_coefficient, precision_long, precision_short, recall_long, recall_short,
          bins, (select sum(errors) from counted)::float8 as pairs
        from grouped
        cross join lateral (
          select correct::float8 / nullif(resolved, 0) as accuracy,
            ${Z}::float8 ^ 2 / nullif(resolved, 0) as zz) as share
        cross join lateral (
          select (accuracy + zz / 2) / (1 + zz) as centre,
            sqrt(zz * (accuracy * (1 - accuracy) + zz / 4)) / (1 + zz) as spread) as wilson
        ${order}
        limit ${limit}`;
      const pairs = rows[0]?.pairs ?? 0;
      return hasInformationCoefficient && pairs > pairsMax ? null : rows.map(toAccuracy);
    },
  };
}

interface Key {
  readonly name: SqlStatement<unknown>;
  /** Of a horizon. */
  readonly value: SqlStatement<unknown>;
  /** The same of its marks; null: they do not tell. */
  readonly told: SqlStatement<unknown> | null;
}

/**
 * What the figures are counted by. The planner knows that a boolean has two values, but not that a
 * confidence has ten bins: by these it expects few groups and hashes them, in each partition.
 */
const MARKS = fragment`
  tenth & 1 = 1 as has_1, tenth & 2 = 2 as has_2, tenth & 4 = 4 as has_4, tenth & 8 = 8 as has_8,
  direction = 'LONG' as said_long, direction = 'SHORT' as said_short,
  actual_direction = 'LONG' as was_long, actual_direction = 'SHORT' as was_short,
  correct as is_right`;
const MARK_NAMES = fragment`
  has_1, has_2, has_4, has_8, said_long, said_short, was_long, was_short, is_right`;

/** Tenths from their lower bound on; 1 is in the last. */
const BIN = fragment`least(9, has_1::int + 2 * has_2::int + 4 * has_4::int + 8 * has_8::int)`;

const KEYS: Readonly<Record<AccuracyDimension, Key>> = {
  MODEL_VERSION: { name: fragment`model_version`, value: fragment`model_version`, told: null },
  SYMBOL: { name: fragment`symbol`, value: fragment`symbol`, told: null },
  HORIZON: { name: fragment`horizon_minutes`, value: fragment`horizon_minutes`, told: null },
  DIRECTION: { name: fragment`key_direction`, value: fragment`direction`, told: fragment`said` },
  CONFIDENCE_BUCKET: {
    name: fragment`confidence_bin`,
    value: fragment`least(9, floor(confidence * 10)::int)`,
    told: fragment`bin`,
  },
  DAY: {
    name: fragment`day`,
    value: fragment`date_trunc('day', predicted_at, 'UTC')`,
    told: null,
  },
};

/** Of one bin. */
const SUMS = fragment`
  sum(n) as total, coalesce(sum(n) filter (where is_right is not null), 0) as resolved,
  coalesce(sum(n) filter (where is_right), 0) as correct,
  sum(c) filter (where is_right is not null) as c,
  sum(case when is_right then cc - 2 * c + n else cc end) filter (where is_right is not null)
    as squares,
  sum(errors) as errors, sum(e) as e, sum(abs_e) as abs_e, sum(ee) as ee,
  sum(n) filter (where said_long and is_right is not null) as said_long,
  sum(n) filter (where said_short and is_right is not null) as said_short,
  sum(n) filter (where was_long) as was_long, sum(n) filter (where was_short) as was_short,
  coalesce(sum(n) filter (where said_long and was_long), 0) as both_long,
  coalesce(sum(n) filter (where said_short and was_short), 0) as both_short`;

/** Of one group of bins. */
const FIGURES = fragment`
  coalesce(sum(total), 0)::int as total, coalesce(sum(resolved), 0)::int as resolved,
  coalesce(sum(correct), 0)::int as correct, sum(abs_e) / nullif(sum(errors), 0)::float8 as mae,
  sqrt(sum(ee) / nullif(sum(errors), 0)::float8) as rmse,
  sum(e) / nullif(sum(errors), 0)::float8 as bias,
  max(correlation) as information_coefficient, sum(c) / nullif(sum(resolved), 0)::float8 as mean_confidence,
  greatest(sum(squares), 0) / nullif(sum(resolved), 0)::float8 as brier,
  sum(abs(correct::float8 - c)) / nullif(sum(resolved), 0)::float8 as ece,
  (sum(both_long) / sum(said_long))::float8 as precision_long,
  (sum(both_short) / sum(said_short))::float8 as precision_short,
  (sum(both_long) / sum(was_long))::float8 as recall_long,
  (sum(both_short) / sum(was_short))::float8 as recall_short,
  coalesce(json_agg(json_build_object(
    'bin', bin, 'count', resolved, 'meanConfidence', c / resolved::float8,
    'accuracy', correct::float8 / resolved::float8)) filter (where resolved > 0), '[]') as bins`;

/**
 * Pearson's correlation of the ranks of predicted and actual returns, of those that have both.
 * Equal values share the mean of their places: the first of these is the rank, the last is how many
 * are not above them, and the sum of the two is twice the mean. Each group is sorted by itself, in
 * memory where it has the room: two and a half times as fast as windows over all of them.
 */
function correlated(
  keys: readonly Key[],
  own: SqlStatement<unknown>,
  pairsMax: number,
): SqlStatement<unknown> {
  const names = keys.map(({ name }) => name);
  return fragment`, correlated as (
      select ${each(names)} (
        select corr(x, y) from (
          select rank() over x + count(*) over x as x, rank() over y + count(*) over y as y
          from unnest(predicted, actual) as pair (predicted, actual)
          window x as (order by pair.predicted), y as (order by pair.actual)) as ranked
      ) as correlation
      from (
        select ${each(keys.map(named))} array_agg(predicted_return) as predicted,
          array_agg(actual_return) as actual
        from ${own}
        where return_error is not null and (select sum(errors) from counted) <= ${pairsMax}
        ${groupedBy(names)}) as pairs
    )`;
}

/** One more row a group, of nothing but its correlation: a join of many groups would be slower. */
function correlationRows(names: readonly SqlStatement<unknown>[]): SqlStatement<unknown> {
  return fragment`
    union all
    select ${each(names)} null, null, null, null, null, null, null, null, null, null, null, null,
      null, null, null, null, correlation
    from correlated`;
}

function named({ name, value }: Key): SqlStatement<unknown> {
  return fragment`${value} as ${name}`;
}

function groupedBy(names: readonly SqlStatement<unknown>[]): SqlStatement<unknown> {
  return names.length === 0 ? fragment`` : fragment`group by ${listed(names)}`;
}

function listed(items: readonly SqlStatement<unknown>[]): SqlStatement<unknown> {
  return items.reduce((list, item) => fragment`${list}, ${item}`);
}

/** Each followed by a comma. */
function each(items: readonly SqlStatement<unknown>[]): SqlStatement<unknown> {
  return items.length === 0 ? fragment`` : fragment`${listed(items)},`;
}

/** By code points, whatever the database's own order. */
function ordered(name: SqlStatement<unknown>): SqlStatement<unknown> {
  const isText = name === KEYS.MODEL_VERSION.name || name === KEYS.SYMBOL.name;
  return isText ? fragment`${name} collate "C"` : name;
}

function toAccuracy(row: Row): PredictionAccuracy {
  const { accuracy: value, low, high, bins, pairs: _pairs, ...rest } = row;
  const { confidenceBin, keyDirection, ...figures } = rest;
  const { total, resolved } = figures;
  const rate = { low: Math.max(0, low), high: Math.min(1, high), samples: resolved };
  const byBin = new Map(bins.map(({ bin, ...of }) => [bin, of]));
  return {
    ...NO_KEYS,
    ...figures,
    direction: keyDirection ?? null,
    confidenceBucket: confidenceBin === undefined ? null : bucketOf(confidenceBin),
    pending: total - resolved,
    accuracy: value === null ? null : { value, ...rate },
    reliability: Array.from({ length: BINS }, (_none, bin) => ({
      low: bound(bin),
      high: bound(bin + 1),
      ...(byBin.get(bin) ?? { count: 0, meanConfidence: null, accuracy: null }),
    })),
  };
}

function bucketOf(bin: number): string {
  return `${bound(bin).toFixed(1)}-${bound(bin + 1).toFixed(1)}`;
}

function bound(bin: number): number {
  return bin / BINS;
}
