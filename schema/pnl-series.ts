import type {
  PnlPoint as PnlPointRecord,
  PnlSeries as PnlSeriesRecord,
} from '../datasources/pnl-series.ts';
import { pnlSeries } from '../resolvers/pnl-series.ts';
import { BucketInput } from './bucket.ts';
import { builder } from './builder.ts';
import { TradeWhere } from './trade.ts';

const PnlPoint = builder.objectRef<PnlPointRecord>('PnlPoint').implement({
  description: 'The trades of one bucket. Without any, its values are what `fill` says.',
  fields: (t) => ({
    at: t.expose('at', { type: 'DateTime', description: 'When the bucket begins.' }),
    realizedPnl: t.expose('realizedPnl', {
      type: 'Decimal',
      nullable: true,
      description: 'The sum of the trades’ own, fees apart, in quote currency.',
    }),
    fees: t.expose('fees', {
      type: 'Decimal',
      nullable: true,
      description:
        'The sum of the commissions in quote currency, as the registered instrument names it, else ' +
        'the symbol; those in other assets are left out.',
    }),
    volume: t.expose('volume', {
      type: 'Decimal',
      nullable: true,
      description: 'The sum of price · quantity, rounded half-even to 18 digits.',
    }),
    trades: t.exposeInt('trades', { nullable: true }),
    cumulativePnl: t.expose('cumulativePnl', {
      type: 'Decimal',
      nullable: true,
      description: 'realizedPnl − fees of this bucket and all before it in the range.',
    }),
    drawdown: t.expose('drawdown', {
      type: 'Decimal',
      nullable: true,
      description:
        'How far cumulativePnl is below its highest so far, which is at least the 0 it starts from; ' +
        'a positive amount.',
    }),
  }),
});

const PnlSeries = builder.objectRef<PnlSeriesRecord>('PnlSeries').implement({
  description:
    'The course of realized profit. The figures beside the points are over every bucket of the ' +
    'range, one without trades as 0, whatever `fill` shows.',
  fields: (t) => ({
    points: t.field({
      type: [PnlPoint],
      description: 'Oldest first.',
      resolve: ({ points }) => [...points],
    }),
    maxDrawdown: t.expose('maxDrawdown', {
      type: 'Decimal',
      description:
        'The largest drawdown: the deepest fall from a peak of cumulativePnl (0 at the start) to a ' +
        'later trough, between ends of buckets. 0 when it never fell. M. Magdon-Ismail and A. Atiya, ' +
        'Maximum Drawdown, Risk 17(10), 2004.',
    }),
    maxDrawdownFrom: t.expose('maxDrawdownFrom', {
      type: 'DateTime',
      nullable: true,
      description:
        'The bucket at whose end the peak was first reached; the first bucket of the range when it ' +
        'is the 0 at the start. Null without a drawdown.',
    }),
    maxDrawdownTo: t.expose('maxDrawdownTo', {
      type: 'DateTime',
      nullable: true,
      description: 'The bucket at whose end the fall was first that deep. Null without a drawdown.',
    }),
    sharpe: t.exposeFloat('sharpe', {
      nullable: true,
      description:
        'mean(d) / s(d) · √N, where d is realizedPnl − fees of a bucket, s its sample standard ' +
        'deviation (n − 1), N the buckets of a year of 365.2425 days (12 of 1mo); the benchmark is ' +
        '0, and amounts stand for returns on a constant capital, which cancels. Null below two ' +
        'buckets or without deviation. W. F. Sharpe, The Sharpe Ratio, Journal of Portfolio ' +
        'Management 21(1), 1994.',
    }),
    sortino: t.exposeFloat('sortino', {
      nullable: true,
      description:
        'mean(d) / √(Σ min(d, 0)² / n) · √N, as for sharpe: the downside deviation below the target ' +
        '0, over all n buckets. Null below two buckets or when none has lost. F. A. Sortino and L. N. ' +
        'Price, Performance Measurement in a Downside Risk Framework, Journal of Investing 3(3), 1994.',
    }),
  }),
});

builder.queryField('pnlSeries', (t) =>
  t.field({
    description:
      'The trades that match, by the bucket of their execution, from where.executedAt or, where it ' +
      'has no end, from the first trade or to the last; up to 10,000 buckets, more are ' +
      'QUERY_TOO_EXPENSIVE. Partial closes count when they are executed. Indexed: those of trades. ' +
      'Runs up to 30 s (ANALYTICS_DEADLINE_MS); longer is QUERY_TOO_EXPENSIVE.',
    type: PnlSeries,
    nullable: true,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: TradeWhere }),
      bucket: t.arg({ type: BucketInput, required: true }),
    },
    resolve: (_root, args, context) => pnlSeries(context, args),
  }),
);
