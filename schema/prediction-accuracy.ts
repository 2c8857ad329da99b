import type {
  Rate as RateRecord,
  ReliabilityBin as ReliabilityBinRecord,
} from '../datasources/prediction-accuracy.ts';
import {
  type PredictionAccuracy as PredictionAccuracyRecord,
  predictionAccuracy,
} from '../resolvers/prediction-accuracy.ts';
import { builder } from './builder.ts';
import { Direction } from './enums.ts';
import { PredictionWhere } from './prediction.ts';
import { selectedFields } from './selection.ts';

const AccuracyDimension = builder.enumType('AccuracyDimension', {
  values: {
    MODEL_VERSION: {},
    SYMBOL: {},
    HORIZON: {},
    DIRECTION: { description: 'The predicted one.' },
    CONFIDENCE_BUCKET: { description: 'Tenths of the confidence of the horizon.' },
    DAY: { description: 'Of predictedAt, in UTC.' },
  } as const,
});

const Rate = builder.objectRef<RateRecord>('Rate').implement({
  description:
    'A share k of n with the score interval of Wilson (1927) at 95 %, z = 1.96: ' +
    '(p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n) with p = k/n.',
  fields: (t) => ({
    value: t.exposeFloat('value', { description: 'p.' }),
    low: t.exposeFloat('low'),
    high: t.exposeFloat('high'),
    samples: t.exposeInt('samples', { description: 'n.' }),
  }),
});

const ReliabilityBin = builder.objectRef<ReliabilityBinRecord>('ReliabilityBin').implement({
  description:
    'The resolved horizons whose confidence is low or above and below high; 1 is in the last. A ' +
    'point of the reliability diagram (DeGroot and Fienberg 1983).',
  fields: (t) => ({
    low: t.exposeFloat('low'),
    high: t.exposeFloat('high'),
    count: t.exposeInt('count'),
    meanConfidence: t.exposeFloat('meanConfidence', {
      nullable: true,
      description: 'Null where the bin is empty.',
    }),
    accuracy: t.exposeFloat('accuracy', {
      nullable: true,
      description: 'The share that was right; null where the bin is empty.',
    }),
  }),
});

const PredictionAccuracy = builder.objectRef<PredictionAccuracyRecord>('PredictionAccuracy');

PredictionAccuracy.implement({
  description:
    'How good the horizons of one group were. All but `total` and `pending` is of those that have ' +
    'an outcome; a figure without anything to be computed from is null. What is not grouped by is ' +
    'null, too. e is returnError = predictedReturn - actualReturn, of those that predicted one.',
  fields: (t) => ({
    modelVersion: t.exposeString('modelVersion', { nullable: true }),
    symbol: t.exposeString('symbol', { nullable: true }),
    horizonMinutes: t.exposeInt('horizonMinutes', { nullable: true }),
    direction: t.expose('direction', {
      type: Direction,
      nullable: true,
      description: 'The predicted one.',
    }),
    confidenceBucket: t.exposeString('confidenceBucket', {
      nullable: true,
      description: '`0.3-0.4`: 0.3 or above and below 0.4; 1 is in `0.9-1.0`.',
    }),
    day: t.expose('day', {
      type: 'DateTime',
      nullable: true,
      description: 'Midnight in UTC, of predictedAt.',
    }),
    total: t.exposeInt('total', { description: 'Horizons: resolved and pending.' }),
    resolved: t.exposeInt('resolved', { description: 'Those that have an outcome.' }),
    pending: t.exposeInt('pending', { description: 'Those that have none; never wrong.' }),
    correct: t.exposeInt('correct', { description: 'Those whose direction is the actual one.' }),
    accuracy: t.expose('accuracy', {
      type: Rate,
      nullable: true,
      description: 'correct / resolved.',
    }),
    mae: t.exposeFloat('mae', { nullable: true, description: 'Mean absolute error: mean of |e|.' }),
    rmse: t.exposeFloat('rmse', {
      nullable: true,
      description: 'Root mean square error: √ of the mean of e².',
    }),
    bias: t.exposeFloat('bias', {
      nullable: true,
      description: 'Mean error: mean of e. Above 0: it predicts too much.',
    }),
    meanConfidence: t.exposeFloat('meanConfidence', {
      nullable: true,
      description: 'Of resolved horizons; equal to the accuracy of a calibrated model.',
    }),
    brier: t.exposeFloat('brier', {
      nullable: true,
      description:
        'Brier (1950), for being right: mean of (confidence - o)², o being 1 where it was right and ' +
        '0 elsewhere. 0 is perfect.',
    }),
    ece: t.exposeFloat('ece', {
      nullable: true,
      description:
        'Expected calibration error, Guo et al. (2017): Σ count/resolved · |accuracy - ' +
        'meanConfidence| over the ten bins of `reliability`.',
    }),
    informationCoefficient: t.exposeFloat('informationCoefficient', {
      nullable: true,
      description:
        'Spearman (1904): the correlation of the ranks of predicted and actual returns, equal ' +
        'values sharing the mean of their ranks; null where one of them does not vary. Sorting ' +
        'them takes several times what the other figures take together: it is computed only ' +
        'where it is asked for, of at most 5,000,000 outcomes.',
    }),
    precisionLong: t.exposeFloat('precisionLong', {
      nullable: true,
      description: 'Of those that said LONG, the share that was LONG.',
    }),
    precisionShort: t.exposeFloat('precisionShort', {
      nullable: true,
      description: 'Of those that said SHORT, the share that was SHORT.',
    }),
    recallLong: t.exposeFloat('recallLong', {
      nullable: true,
      description: 'Of those that were LONG, the share that had said LONG.',
    }),
    recallShort: t.exposeFloat('recallShort', {
      nullable: true,
      description: 'Of those that were SHORT, the share that had said SHORT.',
    }),
    reliability: t.field({
      type: [ReliabilityBin],
      description: 'Ten bins of the confidence, from 0 up, the empty ones as well.',
      resolve: ({ reliability }) => [...reliability],
    }),
    lowSample: t.exposeBoolean('lowSample', {
      description: 'Fewer than `minSamples` are resolved.',
    }),
  }),
});

builder.queryField('predictionAccuracy', (t) =>
  t.field({
    description:
      'How good the horizons of predictions that match were, by any dimensions and in the order ' +
      'of `groupBy`; without one, a single row. `where` is about predictions: `resolved: true` ' +
      'leaves out those of which any horizon is pending. At most 10,000 groups, more is ' +
      '`QUERY_TOO_EXPENSIVE`. Give predictedAt: the work grows with the horizons in its range.',
    type: [PredictionAccuracy],
    nullable: true,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: PredictionWhere }),
      groupBy: t.arg({ type: [AccuracyDimension], defaultValue: ['MODEL_VERSION', 'HORIZON'] }),
      minSamples: t.arg.int({
        defaultValue: 1,
        description:
          'A group with fewer resolved horizons is marked `lowSample`; none is left out.',
      }),
    },
    resolve: async (_root, args, context, info) => {
      const fields = selectedFields(info);
      const hasInformationCoefficient = fields.has('informationCoefficient');
      return [...(await predictionAccuracy(context, args, { hasInformationCoefficient }))];
    },
  }),
);
