import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Exposure } from '../datasources/exposure.ts';
import { quote } from '../datasources/id.ts';
import type { PositionWhere } from '../datasources/position.ts';
import { toPositionWhere } from '../datasources/row-where.ts';
import { AppError } from '../errors.ts';

/**
 * What the open positions that match are worth, at one moment of the account's log.
 *
 * @throws AppError BAD_INPUT, FORBIDDEN, NOT_FOUND, QUERY_TOO_EXPENSIVE
 */
export async function exposure(
  context: Context,
  input: { account?: string | null; where?: PositionWhere | null },
): Promise<Exposure> {
  const accountId = requireAccount(context.actor, input.account, 'positions:read');
  const where = toPositionWhere(accountId, input.where);
  const found = await context.analytics.exposure.find(accountId, where);
  if (found !== null) return found;
  throw new AppError('NOT_FOUND', `There is no account ${quote(accountId)}.`, {
    path: ['account'],
  });
}
