import {
  type PredictionEvent as EventRecord,
  predictionsLogged,
} from '../subscriptions/prediction.ts';
import { builder } from './builder.ts';
import { eventType, readAnew } from './log-event.ts';
import { Prediction, PredictionWhere } from './prediction.ts';

const PredictionEvent = eventType<EventRecord>(
  'PredictionEvent',
  'One step of a stream of predictions.',
);

builder.objectFields(PredictionEvent, (t) => ({
  predictions: t.field({
    type: [Prediction],
    nullable: true,
    description:
      'Those of one batch that match, by their times, as they are when the event is made.',
    resolve: ({ predictions }) => (predictions === null ? null : [...predictions]),
  }),
  actor: t.exposeString('actor', { nullable: true }),
}));

builder.subscriptionField('predictionsLogged', (t) =>
  t.field({
    description:
      'Batches of predictions in commit order. One event a batch, with what matches; a batch of ' +
      'which nothing matches is not sent, and what was deleted since is left out.',
    type: PredictionEvent,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: PredictionWhere }),
      after: t.arg.string({ description: 'The cursor of the last event received.' }),
    },
    subscribe: (_root, args, context) => predictionsLogged(context, args),
    resolve: (event, _args, context) => readAnew(event, context),
  }),
);
