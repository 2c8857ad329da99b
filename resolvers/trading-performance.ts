import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { toTradeWhere } from '../datasources/row-where.ts';
import type { TradeWhere } from '../datasources/trade.ts';
import type {
  PerformanceDimension,
  TradingPerformance,
} from '../datasources/trading-performance.ts';
import { AppError } from '../errors.ts';

/** Of one answer. */
const PERFORMANCE_ROWS_MAX = 10_000;

/**
 * What closed positions have brought, one row for each value of the dimensions, in their order;
 * without dimensions one row, whatever there is. The rows of a grouping add up to that one.
 *
 * @throws AppError BAD_INPUT, FORBIDDEN; QUERY_TOO_EXPENSIVE over 10,000 rows
 */
export async function tradingPerformance(
  context: Context,
  input: {
    account?: string | null;
    where?: TradeWhere | null;
    groupBy?: readonly PerformanceDimension[] | null;
  },
): Promise<readonly TradingPerformance[]> {
  const accountId = requireAccount(context.actor, input.account, 'trades:read');
  const where = toTradeWhere(accountId, input.where);
  const dimensions = [...new Set(input.groupBy ?? [])];
  const rows = await context.analytics.tradingPerformance.list(
    accountId,
    where,
    dimensions,
    PERFORMANCE_ROWS_MAX + 1,
  );
  if (rows.length <= PERFORMANCE_ROWS_MAX) return rows;
  throw new AppError(
    'QUERY_TOO_EXPENSIVE',
    `There are more than ${PERFORMANCE_ROWS_MAX} groups: give a filter, or fewer dimensions.`,
    { path: ['groupBy'], details: { rowsMax: PERFORMANCE_ROWS_MAX } },
  );
}
