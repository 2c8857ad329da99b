import type { OperationRecord as OperationRecordRow } from '../datasources/operation.ts';
import { operation } from '../resolvers/operation.ts';
import { builder } from './builder.ts';

const OperationState = builder.enumType('OperationState', {
  values: {
    COMMITTED: { description: 'It took effect.' },
    IN_FLIGHT: { description: 'A transaction is under way; ask again.' },
  } as const,
});

const OperationRecord = builder.objectRef<OperationRecordRow>('OperationRecord').implement({
  description: 'What is known of a mutation by its idempotency key.',
  fields: (t) => ({
    idempotencyKey: t.exposeString('idempotencyKey'),
    state: t.expose('state', { type: OperationState }),
    response: t.expose('response', {
      type: 'JSON',
      nullable: true,
      description:
        'The `data` of its answer as a repeat gets it: without secrets, and of a long one the ' +
        'statuses and ids only.',
    }),
    committedAt: t.expose('committedAt', { type: 'DateTime', nullable: true }),
  }),
});

builder.queryField('operation', (t) =>
  t.field({
    description:
      'What became of a mutation that this actor sent under an idempotency key. Null: it never ' +
      'arrived, was refused, or is older than 72 hours.',
    type: OperationRecord,
    nullable: true,
    args: { idempotencyKey: t.arg.string({ required: true }) },
    resolve: (_root, args, context) => operation(context, args),
  }),
);
