import type { Bucket, BucketSize } from '../datasources/bucket.ts';
import { quote } from '../datasources/id.ts';
import { AppError } from '../errors.ts';

/** Of one series. */
export const BUCKETS_MAX = 10_000;

export interface BucketInput {
  readonly size: string;
  readonly timeZone?: string | null;
}

const SIZES: readonly string[] = [
  '1m',
  '5m',
  '15m',
  '1h',
  '4h',
  '1d',
  '1w',
  '1mo',
] satisfies readonly BucketSize[];

/** @throws AppError BAD_INPUT for a size or a time zone that is not known */
export function toBucket({ size, timeZone }: BucketInput): Bucket {
  const zone = timeZone ?? 'UTC';
  if (!isBucketSize(size)) {
    throw new AppError('BAD_INPUT', `${quote(size)} must be one of ${SIZES.join(', ')}.`, {
      path: ['bucket', 'size'],
    });
  }
  if (!isTimeZone(zone)) {
    throw new AppError(
      'BAD_INPUT',
      `${quote(zone)} is not a time zone: UTC or a name like Europe/Berlin is needed.`,
      { path: ['bucket', 'timeZone'] },
    );
  }
  return { size, timeZone: zone };
}

function isBucketSize(size: string): size is BucketSize {
  return SIZES.includes(size);
}

// Offsets and abbreviations mean different things to different programs: names of places do not.
const NAME_OF_PLACE = /^[A-Za-z_]+(?:\/[A-Za-z0-9_+-]+)+$/;

function isTimeZone(name: string): boolean {
  if (name === 'UTC') return true;
  if (!NAME_OF_PLACE.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    // A RangeError is how it says that it does not know the name.
    return false;
  }
}

/** More buckets than one answer has. */
export function tooManyBuckets(size: string): AppError {
  return new AppError(
    'QUERY_TOO_EXPENSIVE',
    `The range has more than ${BUCKETS_MAX} buckets of ${size}: give a shorter range, or a larger size.`,
    { path: ['bucket', 'size'], details: { bucketsMax: BUCKETS_MAX } },
  );
}
