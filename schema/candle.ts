import type { Candle as CandleRecord } from '../datasources/candle.ts';
import { candles, ingestCandles } from '../resolvers/candle.ts';
import { builder } from './builder.ts';
import { TimeRange } from './time-range.ts';

const Candle = builder.objectRef<CandleRecord>('Candle').implement({
  description: 'One bar of market data. It belongs to no account.',
  fields: (t) => ({
    exchange: t.exposeString('exchange'),
    symbol: t.exposeString('symbol'),
    interval: t.exposeString('interval'),
    openTime: t.expose('openTime', { type: 'DateTime' }),
    open: t.expose('open', { type: 'Decimal' }),
    high: t.expose('high', { type: 'Decimal' }),
    low: t.expose('low', { type: 'Decimal' }),
    close: t.expose('close', { type: 'Decimal' }),
    volume: t.expose('volume', { type: 'Decimal', description: 'In base currency.' }),
  }),
});

const CandlesPayload = builder
  .objectRef<{ created: number; updated: number; unchanged: number }>('CandlesPayload')
  .implement({
    fields: (t) => ({
      created: t.exposeInt('created'),
      updated: t.exposeInt('updated', { description: 'Of those that were there and differed.' }),
      unchanged: t.exposeInt('unchanged'),
    }),
  });

const CandleItem = builder.inputType('CandleItem', {
  description: 'Its natural key is (exchange, symbol, interval, openTime).',
  fields: (t) => ({
    exchange: t.string({ required: true, description: 'Lower case: `bybit`.' }),
    symbol: t.string({ required: true, description: 'Upper case: `BTCUSDT`.' }),
    interval: t.string({ required: true, description: '`15m`, `1h`, `1d`, `1mo`, …' }),
    openTime: t.field({ type: 'DateTime', required: true }),
    open: t.field({ type: 'Decimal', required: true }),
    high: t.field({ type: 'Decimal', required: true }),
    low: t.field({ type: 'Decimal', required: true }),
    close: t.field({ type: 'Decimal', required: true }),
    volume: t.field({ type: 'Decimal', required: true }),
  }),
});

const IngestCandlesInput = builder.inputType('IngestCandlesInput', {
  fields: (t) => ({
    items: t.field({ type: [CandleItem], required: true, description: '1 to 1000.' }),
  }),
});

builder.queryField('candles', (t) =>
  t.field({
    description: 'The newest `last` candles of the range, oldest first. Gaps are left as gaps.',
    type: [Candle],
    nullable: true,
    args: {
      exchange: t.arg.string({ required: true }),
      symbol: t.arg.string({ required: true }),
      interval: t.arg.string({ required: true }),
      range: t.arg({ type: TimeRange }),
      last: t.arg.int({ defaultValue: 500, description: '1 to 5000.' }),
    },
    resolve: async (_root, args, context) => [...(await candles(context, args))],
  }),
);

builder.mutationField('ingestCandles', (t) =>
  t.field({
    description:
      'Stores candles, new ones and those whose values differ; all of them or, when one is ' +
      'refused, none.',
    type: CandlesPayload,
    args: { input: t.arg({ type: IngestCandlesInput, required: true }) },
    resolve: (_root, { input }, context) => ingestCandles(context, input),
  }),
);
