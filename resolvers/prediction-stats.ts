import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Fill } from '../datasources/pnl-series.ts';
import type { PredictionWhere } from '../datasources/prediction.ts';
import type { PredictionStats, StatsWanted } from '../datasources/prediction-stats.ts';
import { type BucketInput, BUCKETS_MAX, toBucket, tooManyBuckets } from './bucket.ts';

/**
 * What the predictions that match said: bucket by bucket, oldest first, or altogether, which is one
 * row whatever there is.
 *
 * @throws AppError BAD_INPUT for a size or time zone that is not known; QUERY_TOO_EXPENSIVE over
 * 10,000 buckets; FORBIDDEN
 */
export async function predictionStats(
  context: Context,
  input: {
    account?: string | null;
    where?: PredictionWhere | null;
    bucket?: (BucketInput & { readonly fill?: Fill | null }) | null;
  },
  wanted: StatsWanted,
): Promise<readonly PredictionStats[]> {
  const accountId = requireAccount(context.actor, input.account, 'predictions:read');
  const where = input.where ?? {};
  const { predictionStats: repository } = context.analytics;
  if (!input.bucket) return [await repository.get(accountId, where, wanted)];
  const bucket = toBucket(input.bucket);
  const fill = input.bucket.fill ?? 'ZERO';
  const options = { ...bucket, fill, bucketsMax: BUCKETS_MAX };
  const stats = await repository.list(accountId, where, wanted, options);
  if (stats === null) throw tooManyBuckets(bucket.size);
  return stats;
}
