import { assertMay } from '../access.ts';
import type { Context } from '../context.ts';
import type { OperationRecord } from '../datasources/operation.ts';

/**
 * What became of a request that this actor sent under an idempotency key: its answer, or that it
 * is under way. Null: it never arrived, was refused, or is older than 72 hours. The keys of others
 * cannot be asked for.
 *
 * @throws AppError FORBIDDEN
 */
export async function operation(
  context: Context,
  input: { idempotencyKey: string },
): Promise<OperationRecord | null> {
  assertMay(context.actor, 'operations:read', null);
  return context.datasources.operations.find(context.actor.name, input.idempotencyKey);
}
