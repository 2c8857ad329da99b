import type { PredictionStats as PredictionStatsRecord } from '../datasources/prediction-stats.ts';
import { predictionStats } from '../resolvers/prediction-stats.ts';
import { BucketInput } from './bucket.ts';
import { builder } from './builder.ts';
import { PredictionWhere } from './prediction.ts';
import { selectedFields } from './selection.ts';

const PredictionStats = builder.objectRef<PredictionStatsRecord>('PredictionStats').implement({
  description:
    'What models said within one bucket, or altogether. Counts are of predictions by their signal. ' +
    'A mean of nothing is null.',
  fields: (t) => ({
    at: t.expose('at', {
      type: 'DateTime',
      nullable: true,
      description: 'When the bucket begins; null without buckets.',
    }),
    total: t.exposeInt('total'),
    long: t.exposeInt('long'),
    short: t.exposeInt('short'),
    neutral: t.exposeInt('neutral'),
    meanConfidence: t.exposeFloat('meanConfidence', {
      nullable: true,
      description: 'Of signalConfidence.',
    }),
    meanRisk: t.exposeFloat('meanRisk', {
      nullable: true,
      description: 'Of riskScore, where there is one.',
    }),
    symbols: t.exposeInt('symbols', { description: 'How many different ones.' }),
    inferenceMsMean: t.exposeFloat('inferenceMsMean', {
      nullable: true,
      description: 'Of inferenceTimeMs, where there is one.',
    }),
    inferenceMsP95: t.exposeFloat('inferenceMsP95', {
      nullable: true,
      description:
        'The smallest inferenceTimeMs that at least 95 % of them are not above (nearest rank). It ' +
        'sorts them: it is computed only where it is asked for.',
    }),
    perMinute: t.exposeFloat('perMinute', {
      nullable: true,
      description:
        'total by the minutes of the whole bucket. Without buckets, by those of where.predictedAt, ' +
        'in place of a missing end those from the first or to the last prediction; null where ' +
        'there are none.',
    }),
  }),
});

builder.queryField('predictionStats', (t) =>
  t.field({
    description:
      'What the predictions that match said. Without a bucket one row, whatever there is. With one, ' +
      'from where.predictedAt or, where it has no end, from the first prediction or to the last, ' +
      'oldest first; up to 10,000 buckets, more are `QUERY_TOO_EXPENSIVE`. Counts of an empty bucket ' +
      'are 0 (`fill: PREVIOUS`: those of the last that has rows) and its means null; perMinute is 0 ' +
      'with ZERO alone. Runs up to 30 s (ANALYTICS_DEADLINE_MS).',
    type: [PredictionStats],
    nullable: true,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: PredictionWhere }),
      bucket: t.arg({ type: BucketInput }),
    },
    resolve: async (_root, args, context, info) => {
      const hasPercentile = selectedFields(info).has('inferenceMsP95');
      return [...(await predictionStats(context, args, { hasPercentile }))];
    },
  }),
);
