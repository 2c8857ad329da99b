import { type PositionEvent as EventRecord, positionChanges } from '../subscriptions/position.ts';
import { builder } from './builder.ts';
import { ChangeOperation } from './enums.ts';
import { eventType, readAnew } from './log-event.ts';
import { Position, PositionWhere } from './position.ts';

const PositionEvent = eventType<EventRecord>('PositionEvent', 'One step of a stream of positions.');

builder.objectFields(PositionEvent, (t) => ({
  operation: t.expose('operation', { type: ChangeOperation, nullable: true }),
  position: t.field({
    type: Position,
    nullable: true,
    description:
      'The row after the change. With a mark (operation MARK) and in a snapshot its mark and ' +
      'profit are of that moment, else the newest.',
    resolve: ({ position }) => position,
  }),
  before: t.expose('before', {
    type: 'JSON',
    nullable: true,
    description: 'The row before the change, as it is logged; null of one that is new or marked.',
  }),
  fromSeq: t.expose('fromSeq', {
    type: 'BigInt',
    nullable: true,
    description: 'The first seq of a conflated event.',
  }),
  actor: t.exposeString('actor', { nullable: true }),
}));

builder.subscriptionField('positionChanges', (t) =>
  t.field({
    description:
      'Committed changes of positions in commit order. An event is sent when the row before or ' +
      'after it matches `where`. With `snapshot` the matching rows come first.',
    type: PositionEvent,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: PositionWhere }),
      after: t.arg.string({ description: 'The cursor of the last event received.' }),
      snapshot: t.arg.boolean({ defaultValue: false }),
      marks: t.arg.boolean({
        defaultValue: true,
        description:
          'Also an event of each open position that a new mark is of; who is behind gets that of ' +
          'the newest mark alone.',
      }),
      minIntervalMs: t.arg.int({
        defaultValue: 0,
        description: 'Conflates to the newest event of each position, for screens.',
      }),
    },
    subscribe: (_root, args, context) => positionChanges(context, args),
    resolve: (event, _args, context) => readAnew(event, context),
  }),
);
