import { type TradeEvent as EventRecord, tradeExecutions } from '../subscriptions/trade.ts';
import { builder } from './builder.ts';
import { eventType, readAnew } from './log-event.ts';
import { Trade, TradeWhere } from './trade.ts';

const TradeEvent = eventType<EventRecord>('TradeEvent', 'One step of a stream of trades.');

builder.objectFields(TradeEvent, (t) => ({
  trade: t.field({ type: Trade, nullable: true, resolve: ({ trade }) => trade }),
  actor: t.exposeString('actor', { nullable: true }),
}));

builder.subscriptionField('tradeExecutions', (t) =>
  t.field({
    description: 'Committed trades that match, in commit order. A trade never changes.',
    type: TradeEvent,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: TradeWhere }),
      after: t.arg.string({ description: 'The cursor of the last event received.' }),
    },
    subscribe: (_root, args, context) => tradeExecutions(context, args),
    resolve: (event, _args, context) => readAnew(event, context),
  }),
);
