import { clearAllDataLoaders } from '@pothos/plugin-dataloader';
import type { Context } from '../context.ts';
import type { LogEvent } from '../subscriptions/log-stream.ts';
import { builder } from './builder.ts';
import { EventKind } from './enums.ts';

/** What the events of all streams over the log of an account have; the row of each is its own. */
type EventShape = Omit<LogEvent<unknown>, 'row'>;

/** An event type with the fields that all have; those of its row are added by its file. */
export function eventType<Event extends EventShape>(name: string, description: string) {
  return builder.objectRef<Event>(name).implement({
    description,
    fields: (t) => ({
      kind: t.field({ type: EventKind, resolve: ({ kind }) => kind }),
      cursor: t.string({
        description: 'Pass the last one as `after` to resume.',
        resolve: ({ cursor }) => cursor,
      }),
      seq: t.field({ type: 'BigInt', resolve: ({ seq }) => seq }),
      previousSeq: t.field({
        type: 'BigInt',
        nullable: true,
        description:
          'The seq of the change before this one that concerns this subscription (0: none). ' +
          'Nothing was missed as long as it is not greater than the seq last received.',
        resolve: ({ previousSeq }) => previousSeq,
      }),
      at: t.field({
        type: 'DateTime',
        description: 'Of a change its commit, else when the event was made.',
        resolve: ({ at }) => at,
      }),
    }),
  });
}

/** Loaders live as long as the subscription: kept, they would answer with old relations. */
export function readAnew<Event extends { readonly cursor: string }>(
  event: Event,
  context: Context,
): Event {
  context.lastEvent.cursor = event.cursor;
  clearAllDataLoaders(context);
  return event;
}
