import { type ChangeEvent as EventRecord, changeEvents } from '../subscriptions/change.ts';
import { builder } from './builder.ts';
import { Change, ChangeWhere } from './change.ts';
import { eventType, readAnew } from './log-event.ts';

const ChangeEvent = eventType<EventRecord>('ChangeEvent', 'One step of the log of an account.');

builder.objectFields(ChangeEvent, (t) => ({
  change: t.field({ type: Change, nullable: true, resolve: ({ change }) => change }),
}));

builder.subscriptionField('changes', (t) =>
  t.field({
    description:
      'The log of an account as it grows: every committed change that matches, in order.',
    type: ChangeEvent,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: ChangeWhere }),
      after: t.arg.string({
        description: 'The cursor of the last event received, or of a page of `changes`.',
      }),
    },
    subscribe: (_root, args, context) => changeEvents(context, args),
    resolve: (event, _args, context) => readAnew(event, context),
  }),
);
