import { type OrderEvent as EventRecord, orderChanges } from '../subscriptions/order.ts';
import { builder } from './builder.ts';
import { ChangeOperation } from './enums.ts';
import { eventType, readAnew } from './log-event.ts';
import { Order, OrderWhere } from './order.ts';

const OrderEvent = eventType<EventRecord>('OrderEvent', 'One step of a stream of orders.');

builder.objectFields(OrderEvent, (t) => ({
  operation: t.expose('operation', { type: ChangeOperation, nullable: true }),
  order: t.field({
    type: Order,
    nullable: true,
    description: 'The row after the change.',
    resolve: ({ order }) => order,
  }),
  before: t.expose('before', { type: 'JSON', nullable: true }),
  actor: t.exposeString('actor', { nullable: true }),
}));

builder.subscriptionField('orderChanges', (t) =>
  t.field({
    description:
      'Committed changes of orders in commit order. An event is sent when the row before or after ' +
      'it matches `where`. With `snapshot` the matching rows come first.',
    type: OrderEvent,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: OrderWhere }),
      after: t.arg.string({ description: 'The cursor of the last event received.' }),
      snapshot: t.arg.boolean({ defaultValue: false }),
    },
    subscribe: (_root, args, context) => orderChanges(context, args),
    resolve: (event, _args, context) => readAnew(event, context),
  }),
);
