import type {
  BatchCounts as BatchCountsRecord,
  ItemError as ItemErrorRecord,
} from '../resolvers/batch.ts';
import { builder } from './builder.ts';
import { BatchMode } from './enums.ts';

export const ItemError = builder.objectRef<ItemErrorRecord>('ItemError').implement({
  description: 'Why one item was refused.',
  fields: (t) => ({
    code: t.exposeString('code', { description: 'Stable: bots may branch on it.' }),
    message: t.exposeString('message'),
    path: t.stringList({
      description: 'Where in the arguments: `["input", "items", "3", "quantity"]`.',
      resolve: (error) => [...error.path],
    }),
  }),
});

export const BatchCounts = builder.objectRef<BatchCountsRecord>('BatchCounts').implement({
  description: 'How many items have each status.',
  fields: (t) => ({
    created: t.exposeInt('created'),
    updated: t.exposeInt('updated'),
    unchanged: t.exposeInt('unchanged'),
    replayed: t.exposeInt('replayed'),
    conflict: t.exposeInt('conflict'),
    notFound: t.exposeInt('notFound'),
    rejected: t.exposeInt('rejected'),
    notAttempted: t.exposeInt('notAttempted'),
  }),
});

// The builder of input fields has no exported name of its own.
type InputBuilder = Parameters<Parameters<typeof builder.inputType>[1]['fields']>[0];

/** The input fields that every batch of an account begins with. */
export function batchFields(t: InputBuilder) {
  return {
    account: t.id({ description: 'May be left out by a key that is for one account.' }),
    mode: t.field({ type: BatchMode, defaultValue: 'ATOMIC' }),
  };
}
