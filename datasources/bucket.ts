import { AppError } from '../errors.ts';
import { DatabaseError } from './postgres.ts';
import { fragment, type SqlStatement } from './sql.ts';

export type BucketSize = '1m' | '5m' | '15m' | '1h' | '4h' | '1d' | '1w' | '1mo';

/** How a span of time is cut: by the clock and the calendar of a time zone. */
export interface Bucket {
  readonly size: BucketSize;
  /** `UTC`, or an IANA name such as `Europe/Berlin`. */
  readonly timeZone: string;
}

const STEPS: Readonly<Record<BucketSize, string>> = {
  '1m': '1 minute',
  '5m': '5 minutes',
  '15m': '15 minutes',
  '1h': '1 hour',
  '4h': '4 hours',
  '1d': '1 day',
  '1w': '7 days',
  '1mo': '1 month',
};

/** Of a calendar year, which has 365.2425 days on average. */
const YEAR_SECONDS = 365.2425 * 86_400;
const SECONDS: Readonly<Record<Exclude<BucketSize, '1mo'>, number>> = {
  '1m': 60,
  '5m': 300,
  '15m': 900,
  '1h': 3600,
  '4h': 14_400,
  '1d': 86_400,
  '1w': 604_800,
};

/** How many buckets of this size a year has on average. */
export function bucketsPerYear(size: BucketSize): number {
  return size === '1mo' ? 12 : YEAR_SECONDS / SECONDS[size];
}

/**
 * A select of `at`: where the buckets begin that hold the instants from `first` to `last`, in no
 * order, at most a few more than `limit` of them; none when `first` is after `last` or null.
 *
 * Up to 15m every bucket has its length: the offsets of all zones are multiples of it. Above, a
 * bucket begins when the clock on the wall of the zone reads a multiple of its size: an hour that the
 * clock repeats is two buckets of 1h, one that it leaves out is none, and a longer bucket has the
 * hours that its day has. Weeks begin on Monday.
 */
export function bucketStarts(
  { size, timeZone }: Bucket,
  first: SqlStatement<unknown>,
  last: SqlStatement<unknown>,
  limit: number,
): SqlStatement<unknown> {
  const step = fragment`${STEPS[size]}::interval`;
  if (size === '1m' || size === '5m' || size === '15m') {
    const floor = fragment`date_bin(${step}, ${first}, ${FIXED_ORIGIN})`;
    return fragment`
      select at from generate_series(
        ${floor}, least(${last}, ${floor} + ${limit} * ${step}), ${step}) as at
      where ${first} <= ${last}`;
  }
  const zone = fragment`${timeZone}::text`;
  const wall = fragment`(${first} at time zone ${zone})`;
  const floor =
    size === '1mo'
      ? fragment`date_trunc('month', ${wall})`
      : fragment`date_bin(${step}, ${wall}, ${WALL_ORIGIN})`;
  // The clock may read less at the end than shortly before it: a few hours more are looked at.
  const end = fragment`least(
    (${last} at time zone ${zone}) + interval '3 hours', ${floor} + ${limit} * ${step})`;
  // PostgreSQL takes the later of two instants with one reading: the earlier is as far before it as
  // the clock was set back.
  const readings = fragment`
    generate_series(${floor}, ${end}, ${step}) as wall
    cross join unnest(array['0', '30 minutes', '1 hour', '2 hours']::interval[]) as back
    cross join lateral (select (wall at time zone ${zone}) - back as at) as reading
    where back = '0' or at at time zone ${zone} = wall`;
  return fragment`
    select at from (
      select at, max(at) filter (where at <= ${first}) over () as first_at
      from (select distinct at from (
        ${
          size === '1h'
            ? fragment`select at from ${readings}`
            : fragment`select min(at) as at from ${readings} group by wall`
        }) as repeated) as starts) as bounded
    where at >= first_at and at <= ${last} and ${first} <= ${last}`;
}

/**
 * A select of `at` and `until`: the same buckets with where the next one begins, null where that was
 * not looked for because there are more than `limit`.
 */
export function bucketSpans(
  bucket: Bucket,
  first: SqlStatement<unknown>,
  last: SqlStatement<unknown>,
  limit: number,
): SqlStatement<unknown> {
  // A bucket may be an hour longer than its size.
  const beyond = fragment`(${last} + 2 * ${STEPS[bucket.size]}::interval)`;
  return fragment`
    select at, until from (
      select at, lead(at) over (order by at) as until
      from (${bucketStarts(bucket, first, beyond, limit + 2)}) as starts) as spans
    where at <= ${last} and ${first} <= ${last}`;
}

/** Midnight, and on a Monday: days and weeks are counted from it. */
const WALL_ORIGIN = fragment`timestamp '2000-01-03 00:00:00'`;
const FIXED_ORIGIN = fragment`timestamptz '2000-01-03 00:00:00+00'`;

/**
 * The error of a statement with buckets. A zone may be known here and not to the database.
 *
 * @throws AppError BAD_INPUT, path `bucket.timeZone`, for such a zone; every other error as it is
 */
export function throwBucketError(error: unknown, { timeZone }: Bucket): never {
  if (!(error instanceof DatabaseError) || error.sqlState !== '22023') throw error;
  throw new AppError('BAD_INPUT', `The database does not know the time zone ${timeZone}.`, {
    path: ['bucket', 'timeZone'],
    cause: error,
  });
}
