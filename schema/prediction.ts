import { encodeId } from '../datasources/id.ts';
import type {
  HorizonRow,
  PredictionOutcome as PredictionOutcomeRecord,
  Prediction as PredictionRecord,
} from '../datasources/prediction.ts';
import {
  latestPredictions,
  logPredictions,
  outcomeOf,
  type PredictionResult as PredictionResultRecord,
  predictions,
  type PredictionsPayload as Payload,
} from '../resolvers/prediction.ts';
import { Account } from './account.ts';
import { BatchCounts, batchFields, ItemError } from './batch.ts';
import { builder } from './builder.ts';
import { Direction, ItemStatus } from './enums.ts';
import { Node } from './node.ts';
import { pageArguments, pageType } from './page.ts';
import { byId, relationLoader } from './relation.ts';
import { TimeRange } from './time-range.ts';

const loadHorizons = relationLoader(async (context, accountId, ids) => {
  const rows = await context.datasources.predictions.listHorizons(accountId, ids);
  const found = Map.groupBy(rows, ({ predictionId }) => predictionId);
  return (id): readonly HorizonRow[] => found.get(id) ?? [];
});

const loadPrediction = relationLoader(async (context, accountId, ids) =>
  byId(await context.datasources.predictions.findByIds(accountId, ids)),
);

/** The wide columns, which no other read has: one statement when any of them is asked for. */
const loadDetails = relationLoader(async (context, accountId, ids) =>
  byId(await context.datasources.predictions.listDetails(accountId, ids)),
);

const PredictionOutcome = builder
  .objectRef<PredictionOutcomeRecord>('PredictionOutcome')
  .implement({
    description: 'What the market did by the end of the horizon.',
    fields: (t) => ({
      actualReturn: t.exposeFloat('actualReturn', { description: 'A share: 0.01 is one percent.' }),
      actualDirection: t.expose('actualDirection', { type: Direction }),
      correct: t.exposeBoolean('correct'),
      returnError: t.exposeFloat('returnError', { nullable: true }),
      resolvedAt: t.expose('resolvedAt', { type: 'DateTime' }),
    }),
  });

const PredictionHorizon = builder.objectRef<HorizonRow>('PredictionHorizon').implement({
  description: 'What is expected by one horizon.',
  fields: (t) => ({
    horizonMinutes: t.exposeInt('horizonMinutes'),
    direction: t.expose('direction', { type: Direction }),
    confidence: t.exposeFloat('confidence', { description: '0 to 1.' }),
    probabilityLong: t.exposeFloat('probabilityLong', { nullable: true }),
    probabilityShort: t.exposeFloat('probabilityShort', { nullable: true }),
    probabilityNeutral: t.exposeFloat('probabilityNeutral', { nullable: true }),
    predictedReturn: t.exposeFloat('predictedReturn', {
      nullable: true,
      description: 'A share: 0.01 is one percent.',
    }),
    outcome: t.field({
      type: PredictionOutcome,
      nullable: true,
      description: 'Null while it is pending.',
      resolve: outcomeOf,
    }),
  }),
});

export const Prediction = builder.objectRef<PredictionRecord>('Prediction');

Prediction.implement({
  description: 'What a model said about one instrument at one instant.',
  interfaces: [Node],
  fields: (t) => ({
    id: t.id({ resolve: ({ accountId, id }) => encodeId('prediction', accountId, id) }),
    account: t.field({ type: Account, resolve: (prediction) => prediction.accountId }),
    exchange: t.exposeString('exchange'),
    symbol: t.exposeString('symbol'),
    interval: t.exposeString('interval', {
      description: 'Of the candles it was made from: `15m`.',
    }),
    modelVersion: t.exposeString('modelVersion'),
    predictedAt: t.expose('predictedAt', { type: 'DateTime' }),
    price: t.expose('price', { type: 'Decimal', nullable: true }),
    signal: t.expose('signal', { type: Direction }),
    signalConfidence: t.exposeFloat('signalConfidence', { description: '0 to 1.' }),
    riskScore: t.exposeFloat('riskScore', { nullable: true }),
    inferenceTimeMs: t.exposeFloat('inferenceTimeMs', { nullable: true }),
    features: t.floatList({
      nullable: true,
      description: 'Read, as indicators and metadata are, only when asked for.',
      resolve: async ({ accountId, id }, _args, context) => {
        const details = await loadDetails(context, accountId, id);
        return details?.features ? [...details.features] : null;
      },
    }),
    indicators: t.field({
      type: 'JSON',
      nullable: true,
      resolve: async ({ accountId, id }, _args, context) =>
        (await loadDetails(context, accountId, id))?.indicators,
    }),
    metadata: t.field({
      type: 'JSON',
      nullable: true,
      resolve: async ({ accountId, id }, _args, context) =>
        (await loadDetails(context, accountId, id))?.metadata,
    }),
    horizons: t.field({
      type: [PredictionHorizon],
      description: 'Shortest first.',
      resolve: async ({ accountId, id }, _args, context) => [
        ...(await loadHorizons(context, accountId, id)),
      ],
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was stored.' }),
  }),
});

const PredictionConnection = pageType<PredictionRecord>('Prediction', Prediction);

export const PredictionWhere = builder.inputType('PredictionWhere', {
  description: 'All of the given must hold. Indexed: predictedAt, symbols.',
  fields: (t) => ({
    exchange: t.string(),
    symbols: t.stringList(),
    interval: t.string(),
    modelVersions: t.stringList(),
    signal: t.field({ type: [Direction] }),
    minConfidence: t.float(),
    resolved: t.boolean({
      description: 'True: every horizon has its outcome; false: at least one is pending.',
    }),
    predictedAt: t.field({ type: TimeRange }),
  }),
});

const PredictionResult = builder.objectRef<PredictionResultRecord>('PredictionResult').implement({
  description: 'What became of one item.',
  fields: (t) => ({
    index: t.exposeInt('index', { description: 'The place of the item in the input, from 0.' }),
    status: t.expose('status', { type: ItemStatus }),
    id: t.id({
      nullable: true,
      resolve: ({ accountId, id }) => (id === null ? null : encodeId('prediction', accountId, id)),
    }),
    prediction: t.field({
      type: Prediction,
      nullable: true,
      description: 'The stored row, read only when asked for; null where nothing is stored.',
      resolve: ({ accountId, id, isStored }, _args, context) =>
        id === null || !isStored ? null : loadPrediction(context, accountId, id),
    }),
    error: t.expose('error', { type: ItemError, nullable: true }),
  }),
});

const PredictionsPayload = builder.objectRef<Payload>('PredictionsPayload').implement({
  fields: (t) => ({
    results: t.field({
      type: [PredictionResult],
      description: 'One an item, in input order.',
      resolve: ({ results }) => [...results],
    }),
    counts: t.expose('counts', { type: BatchCounts }),
  }),
});

const PredictionHorizonItem = builder.inputType('PredictionHorizonItem', {
  fields: (t) => ({
    horizonMinutes: t.int({ required: true, description: 'Each once in a prediction.' }),
    direction: t.field({ type: Direction, required: true }),
    confidence: t.float({ required: true, description: '0 to 1.' }),
    probabilityLong: t.float({ description: '0 to 1.' }),
    probabilityShort: t.float({ description: '0 to 1.' }),
    probabilityNeutral: t.float({ description: '0 to 1.' }),
    predictedReturn: t.float({ description: 'A share: 0.01 is one percent.' }),
  }),
});

const LogPredictionItem = builder.inputType('LogPredictionItem', {
  description: 'Its natural key is (modelVersion, exchange, symbol, interval, predictedAt).',
  fields: (t) => ({
    exchange: t.string({ required: true, description: 'Lower case: `bybit`.' }),
    symbol: t.string({ required: true, description: 'Upper case: `BTCUSDT`.' }),
    interval: t.string({ defaultValue: '15m' }),
    modelVersion: t.string({ required: true }),
    predictedAt: t.field({
      type: 'DateTime',
      required: true,
      description: '2015 to one hour ahead.',
    }),
    price: t.field({ type: 'Decimal' }),
    signal: t.field({ type: Direction, required: true }),
    signalConfidence: t.float({ required: true, description: '0 to 1.' }),
    riskScore: t.float(),
    inferenceTimeMs: t.float(),
    features: t.floatList({ description: 'Up to 1024.' }),
    indicators: t.field({ type: 'JSON', description: 'Up to 16 KiB.' }),
    metadata: t.field({ type: 'JSON', description: 'Up to 16 KiB.' }),
    horizons: t.field({
      type: [PredictionHorizonItem],
      defaultValue: [],
      description: 'Up to 16.',
    }),
  }),
});

const LogPredictionsInput = builder.inputType('LogPredictionsInput', {
  fields: (t) => ({
    ...batchFields(t),
    items: t.field({ type: [LogPredictionItem], required: true, description: '1 to 1000.' }),
  }),
});

builder.queryFields((t) => ({
  predictions: t.field({
    description: 'Predictions that match, by their time, newest first.',
    type: PredictionConnection,
    nullable: true,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: PredictionWhere }),
      ...pageArguments(t.arg),
    },
    resolve: (_root, args, context) => predictions(context, args),
  }),
  latestPredictions: t.field({
    description: 'The newest prediction of each symbol that has one, in the order of `symbols`.',
    type: [Prediction],
    nullable: true,
    args: {
      account: t.arg.id(),
      symbols: t.arg.stringList({ required: true, description: 'Up to 500.' }),
      modelVersion: t.arg.string(),
    },
    resolve: async (_root, args, context) => [...(await latestPredictions(context, args))],
  }),
}));

builder.mutationField('logPredictions', (t) =>
  t.field({
    description:
      'Stores predictions with their horizons. Item statuses, the first that holds: REJECTED, ' +
      'CONFLICT (other content under the natural key), REPLAYED (the same content), CREATED.',
    type: PredictionsPayload,
    args: { input: t.arg({ type: LogPredictionsInput, required: true }) },
    resolve: (_root, { input }, context) => logPredictions(context, input),
  }),
);
