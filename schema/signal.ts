import { encodeId } from '../datasources/id.ts';
import type { Signal as SignalRecord } from '../datasources/signal.ts';
import {
  createSignals,
  processSignals,
  type SignalResult as SignalResultRecord,
  signals,
  type SignalsPayload as Payload,
} from '../resolvers/signal.ts';
import { Account } from './account.ts';
import { BatchCounts, batchFields, ItemError } from './batch.ts';
import { builder } from './builder.ts';
import { ItemStatus, SignalStatus, SignalType } from './enums.ts';
import { Node } from './node.ts';
import { pageArguments, pageType } from './page.ts';
import { TimeRange } from './time-range.ts';

const Signal = builder.objectRef<SignalRecord>('Signal');

Signal.implement({
  description: 'What a strategy suggests to do, until somebody acts on it or its time is over.',
  interfaces: [Node],
  fields: (t) => ({
    id: t.id({ resolve: ({ accountId, id }) => encodeId('signal', accountId, id) }),
    account: t.field({ type: Account, resolve: (signal) => signal.accountId }),
    exchange: t.exposeString('exchange'),
    symbol: t.exposeString('symbol'),
    type: t.expose('type', { type: SignalType }),
    status: t.expose('status', { type: SignalStatus }),
    strength: t.exposeFloat('strength', { description: '0 to 1.' }),
    confidence: t.exposeFloat('confidence', { description: '0 to 1.' }),
    strategy: t.exposeString('strategy'),
    suggestedPrice: t.expose('suggestedPrice', { type: 'Decimal', nullable: true }),
    suggestedStopLoss: t.expose('suggestedStopLoss', { type: 'Decimal', nullable: true }),
    suggestedTakeProfit: t.expose('suggestedTakeProfit', { type: 'Decimal', nullable: true }),
    suggestedQuantity: t.expose('suggestedQuantity', {
      type: 'Decimal',
      nullable: true,
      description: 'In base currency.',
    }),
    metadata: t.expose('metadata', { type: 'JSON', nullable: true }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    expiresAt: t.expose('expiresAt', {
      type: 'DateTime',
      description: 'From then on it cannot be processed any more.',
    }),
    processedAt: t.expose('processedAt', { type: 'DateTime', nullable: true }),
  }),
});

const SignalConnection = pageType<SignalRecord>('Signal', Signal);

const SignalWhere = builder.inputType('SignalWhere', {
  description: 'All of the given must hold. Indexed: symbols, createdAt.',
  fields: (t) => ({
    exchange: t.string(),
    symbols: t.stringList(),
    type: t.field({ type: [SignalType] }),
    status: t.field({ type: [SignalStatus] }),
    strategy: t.string(),
    createdAt: t.field({ type: TimeRange }),
  }),
});

const SignalResult = builder.objectRef<SignalResultRecord>('SignalResult').implement({
  description: 'What became of one item.',
  fields: (t) => ({
    index: t.exposeInt('index', { description: 'The place of the item in the input, from 0.' }),
    status: t.expose('status', { type: ItemStatus }),
    signal: t.field({
      type: Signal,
      nullable: true,
      description: 'The row after this item; of a REPLAYED item the earlier signal.',
      resolve: (result) => result.signal,
    }),
    error: t.expose('error', { type: ItemError, nullable: true }),
  }),
});

const SignalsPayload = builder.objectRef<Payload>('SignalsPayload').implement({
  fields: (t) => ({
    results: t.field({
      type: [SignalResult],
      description: 'One an item, in input order.',
      resolve: ({ results }) => [...results],
    }),
    counts: t.expose('counts', { type: BatchCounts }),
  }),
});

const CreateSignalItem = builder.inputType('CreateSignalItem', {
  fields: (t) => ({
    exchange: t.string({ required: true, description: 'Lower case: `bybit`.' }),
    symbol: t.string({ required: true, description: 'Upper case: `BTCUSDT`.' }),
    type: t.field({ type: SignalType, required: true }),
    strength: t.float({ required: true, description: '0 to 1.' }),
    confidence: t.float({ required: true, description: '0 to 1.' }),
    strategy: t.string({ required: true }),
    suggestedPrice: t.field({ type: 'Decimal', description: 'Above 0.' }),
    suggestedStopLoss: t.field({ type: 'Decimal', description: 'Above 0.' }),
    suggestedTakeProfit: t.field({ type: 'Decimal', description: 'Above 0.' }),
    suggestedQuantity: t.field({ type: 'Decimal', description: 'In base currency; above 0.' }),
    expiresAt: t.field({
      type: 'DateTime',
      description: 'After now, by 366 days at most; left out: in an hour.',
    }),
    dedupeSeconds: t.int({
      defaultValue: 300,
      description:
        '0 to 86400. Within this time a signal of the same exchange, symbol, strategy and type is ' +
        'REPLAYED, processed or not, unless it has expired. 0: never.',
    }),
    metadata: t.field({ type: 'JSON', description: 'Up to 16 KiB.' }),
  }),
});

const CreateSignalsInput = builder.inputType('CreateSignalsInput', {
  fields: (t) => ({
    ...batchFields(t),
    items: t.field({ type: [CreateSignalItem], required: true, description: '1 to 1000.' }),
  }),
});

const ProcessSignalsInput = builder.inputType('ProcessSignalsInput', {
  fields: (t) => ({
    account: t.id({ description: 'May be left out by a key that is for one account.' }),
    ids: t.idList({ required: true, description: '1 to 1000.' }),
  }),
});

builder.queryField('signals', (t) =>
  t.field({
    description: 'Signals that match, newest first.',
    type: SignalConnection,
    nullable: true,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: SignalWhere }),
      ...pageArguments(t.arg),
    },
    resolve: (_root, args, context) => signals(context, args),
  }),
);

builder.mutationFields((t) => ({
  createSignals: t.field({
    description:
      'Stores signals; one that a strategy repeats within `dedupeSeconds` is stored once. Item ' +
      'statuses, the first that holds: REJECTED, REPLAYED, CREATED.',
    type: SignalsPayload,
    args: { input: t.arg({ type: CreateSignalsInput, required: true }) },
    resolve: (_root, { input }, context) => createSignals(context, input),
  }),
  processSignals: t.field({
    description:
      'Claims active signals: of two that process one signal one succeeds and may act on it. All ' +
      'of them or, when one is refused, none. Item statuses, the first that holds: REJECTED, ' +
      'NOT_FOUND, CONFLICT (processed or expired before), UPDATED.',
    type: SignalsPayload,
    args: { input: t.arg({ type: ProcessSignalsInput, required: true }) },
    resolve: (_root, { input }, context) => processSignals(context, input),
  }),
}));
