import { assertMay } from '../access.ts';
import type { Context } from '../context.ts';
import type { SlowStatement, StatementFigures } from '../datasources/statistics.ts';
import { AppError } from '../errors.ts';

export type StatementOrder = 'TOTAL_TIME' | 'MEAN_TIME' | 'CALLS' | 'ERRORS';

const FIRST_DEFAULT = 20;
const FIRST_MAX = 500;

const SORT_KEY = {
  TOTAL_TIME: 'msTotal',
  MEAN_TIME: 'msMean',
  CALLS: 'calls',
  ERRORS: 'errors',
} as const satisfies Record<StatementOrder, keyof StatementFigures>;

/**
 * What each named statement of this process cost since its start, the most first.
 *
 * @throws AppError FORBIDDEN; BAD_INPUT unless `first` is 1 to 500
 */
export function statementStats(
  context: Context,
  input: { readonly orderBy?: StatementOrder | null; readonly first?: number | null },
): readonly StatementFigures[] {
  assertMay(context.actor, 'statements:read', null);
  const first = firstOf(input.first);
  const key = SORT_KEY[input.orderBy ?? 'TOTAL_TIME'];
  const { statements } = context.services.database.statistics.snapshot();
  return statements.toSorted((a, b) => b[key] - a[key]).slice(0, first);
}

/**
 * The statements of this process that took longer than 100 ms, 50 ms in the trading lane; newest
 * first, the last 200 are kept.
 *
 * @throws AppError FORBIDDEN; BAD_INPUT unless `first` is 1 to 500
 */
export function slowStatements(
  context: Context,
  input: { readonly first?: number | null },
): readonly SlowStatement[] {
  assertMay(context.actor, 'statements:read', null);
  const first = firstOf(input.first);
  return context.services.database.statistics.snapshot().slow.slice(0, first);
}

function firstOf(first: number | null | undefined): number {
  const count = first ?? FIRST_DEFAULT;
  if (count >= 1 && count <= FIRST_MAX) return count;
  throw new AppError('BAD_INPUT', `first must be 1 to ${FIRST_MAX}.`, { path: ['first'] });
}
