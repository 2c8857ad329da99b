import type { StopTrigger as StopTriggerRecord } from '../datasources/mark.ts';
import { type MarkPricesPayload as Payload, markPrices } from '../resolvers/mark.ts';
import { builder } from './builder.ts';
import { StopKind } from './enums.ts';
import { Position } from './position.ts';

const StopTrigger = builder.objectRef<StopTriggerRecord>('StopTrigger').implement({
  description: 'A stop that a mark of this call has crossed.',
  fields: (t) => ({
    position: t.field({ type: Position, resolve: ({ position }) => position }),
    kind: t.expose('kind', { type: StopKind }),
    price: t.expose('price', { type: 'Decimal', description: 'The mark that crossed it.' }),
  }),
});

const MarkPricesPayload = builder.objectRef<Payload>('MarkPricesPayload').implement({
  fields: (t) => ({
    updated: t.exposeInt('updated', {
      description: 'Marks that were newer than those known; the others were ignored.',
    }),
    triggered: t.field({
      type: [StopTrigger],
      description:
        'Each crossed stop is reported once and stays on its position (`stopTriggeredAt`), until ' +
        'that stop is changed. By the id of the position.',
      resolve: ({ triggered }) => [...triggered],
    }),
  }),
});

const MarkPriceItem = builder.inputType('MarkPriceItem', {
  fields: (t) => ({
    exchange: t.string({ required: true, description: 'Lower case: `bybit`.' }),
    symbol: t.string({ required: true, description: 'Upper case: `BTCUSDT`.' }),
    price: t.field({ type: 'Decimal', required: true, description: 'Above 0.' }),
    at: t.field({
      type: 'DateTime',
      description: '2015 to one minute ahead; left out: the instant of the request.',
    }),
  }),
});

const MarkPricesInput = builder.inputType('MarkPricesInput', {
  fields: (t) => ({
    account: t.id({ description: 'May be left out by a key that is for one account.' }),
    items: t.field({
      type: [MarkPriceItem],
      required: true,
      description: '1 to 1000, each instrument once.',
    }),
  }),
});

builder.mutationField('markPrices', (t) =>
  t.field({
    description:
      'Tells the account the newest prices: marks and unrealized profits of its positions follow, ' +
      'and the stops that are crossed are marked. A mark that is not newer than the one known is ' +
      'ignored. All of them are stored or, when one is refused, none.',
    type: MarkPricesPayload,
    args: { input: t.arg({ type: MarkPricesInput, required: true }) },
    resolve: (_root, { input }, context) => markPrices(context, input),
  }),
);
