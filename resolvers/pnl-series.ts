import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Fill, PnlSeries } from '../datasources/pnl-series.ts';
import { toTradeWhere } from '../datasources/row-where.ts';
import type { TradeWhere } from '../datasources/trade.ts';
import { type BucketInput, BUCKETS_MAX, toBucket, tooManyBuckets } from './bucket.ts';

/**
 * The profit and loss of the trades that match, bucket by bucket, with its drawdown and ratios.
 *
 * @throws AppError BAD_INPUT for a size or time zone that is not known; QUERY_TOO_EXPENSIVE over
 * 10,000 buckets; FORBIDDEN
 */
export async function pnlSeries(
  context: Context,
  input: {
    account?: string | null;
    where?: TradeWhere | null;
    bucket: BucketInput & { readonly fill?: Fill | null };
  },
): Promise<PnlSeries> {
  const accountId = requireAccount(context.actor, input.account, 'trades:read');
  const where = toTradeWhere(accountId, input.where);
  const bucket = toBucket(input.bucket);
  const series = await context.analytics.pnlSeries.find(accountId, where, {
    ...bucket,
    fill: input.bucket.fill ?? 'ZERO',
    bucketsMax: BUCKETS_MAX,
  });
  if (series === null) throw tooManyBuckets(bucket.size);
  return series;
}
