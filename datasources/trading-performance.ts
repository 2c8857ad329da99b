import type { PositionSide } from './position.ts';
import { fragment, isOneOf, joined, type Sql, type SqlStatement } from './sql.ts';
import type { TradeWhere } from './trade.ts';

export type PerformanceDimension = 'SYMBOL' | 'STRATEGY' | 'SIDE' | 'DAY';

/** What closed positions have brought, together. Amounts are in quote currency, net of fees. */
export interface TradingPerformance {
  /** A dimension that is not grouped by is null. */
  readonly symbol: string | null;
  readonly strategy: string | null;
  readonly side: PositionSide | null;
  readonly day: string | null;
  readonly closedPositions: number;
  readonly wins: number;
  readonly losses: number;
  readonly winRate: number | null;
  readonly grossProfit: string;
  readonly grossLoss: string;
  readonly netPnl: string;
  readonly fees: string;
  readonly profitFactor: string | null;
  readonly expectancy: string | null;
  readonly averageWin: string | null;
  readonly averageLoss: string | null;
  readonly best: string | null;
  readonly worst: string | null;
  readonly averageHoldSeconds: number | null;
}

export function createTradingPerformanceRepository(sql: Sql) {
  return {
    /**
     * The closed positions that match, by these dimensions and in their order, at most `limit`
     * groups; without dimensions one row, whatever there is.
     */
    async list(
      accountId: string,
      where: TradeWhere,
      dimensions: readonly PerformanceDimension[],
      limit: number,
    ): Promise<readonly TradingPerformance[]> {
      const keys = dimensions.map((dimension) => COLUMNS[dimension]);
      const grouping =
        keys.length === 0
          ? fragment``
          : fragment`group by ${joined(keys, ', ')} order by ${joined(keys.map(ordered), ', ')}`;
      return sql<TradingPerformance>`
        /* tradingPerformance.list */
        with closed as (
          select symbol, strategy, side, date_trunc('day', closed_at, 'UTC') as day, fees,
            realized_pnl - fees as net, extract(epoch from closed_at - opened_at) as held
          from positions
          where account_id = ${accountId} and closed_at is not null
            ${conditions(accountId, where)}
        ), summed as (
          select ${selected(dimensions)}, count(*)::int as closed_positions,
            count(*) filter (where net > 0)::int as wins,
            count(*) filter (where net < 0)::int as losses,
            coalesce(sum(net) filter (where net > 0), 0) as gross_profit,
            coalesce(-sum(net) filter (where net < 0), 0) as gross_loss,
            coalesce(sum(fees), 0) as fees, max(net) as best, min(net) as worst,
            avg(held)::float8 as average_hold_seconds
          from closed
          ${grouping}
          limit ${limit}
        )
        select symbol, strategy, side, day, closed_positions, wins, losses,
          wins / nullif(closed_positions, 0)::float8 as win_rate,
          trim_scale(gross_profit) as gross_profit, trim_scale(gross_loss) as gross_loss,
          trim_scale(gross_profit - gross_loss) as net_pnl, trim_scale(fees) as fees,
          ${quotient(fragment`gross_profit`, fragment`gross_loss`)} as profit_factor,
          ${quotient(fragment`gross_profit - gross_loss`, fragment`closed_positions`)} as expectancy,
          ${quotient(fragment`gross_profit`, fragment`wins`)} as average_win,
          ${quotient(fragment`gross_loss`, fragment`losses`)} as average_loss,
          trim_scale(best) as best, trim_scale(worst) as worst, average_hold_seconds
        from summed
        ${keys.length === 0 ? fragment`` : fragment`order by ${joined(keys.map(ordered), ', ')}`}`;
    },
  };
}

const COLUMNS = {
  SYMBOL: fragment`symbol`,
  STRATEGY: fragment`strategy`,
  SIDE: fragment`side`,
  DAY: fragment`day`,
} as const satisfies Record<PerformanceDimension, SqlStatement<unknown>>;

const NULLS = {
  SYMBOL: fragment`null::text as symbol`,
  STRATEGY: fragment`null::text as strategy`,
  SIDE: fragment`null::text as side`,
  DAY: fragment`null::timestamptz as day`,
} as const satisfies Record<PerformanceDimension, SqlStatement<unknown>>;

const DIMENSIONS = ['SYMBOL', 'STRATEGY', 'SIDE', 'DAY'] as const;

function selected(dimensions: readonly PerformanceDimension[]): SqlStatement<unknown> {
  return joined(
    DIMENSIONS.map((each) => (dimensions.includes(each) ? COLUMNS[each] : NULLS[each])),
    ', ',
  );
}

/** Names in the order of their code points, whatever the locale of the database. */
function ordered(column: SqlStatement<unknown>): SqlStatement<unknown> {
  return column === COLUMNS.DAY ? column : fragment`${column} collate "C" nulls last`;
}

/** Null where there is nothing to divide by. */
function quotient(
  dividend: SqlStatement<unknown>,
  divisor: SqlStatement<unknown>,
): SqlStatement<unknown> {
  return fragment`trim_scale(divide_half_even(${dividend}, nullif(${divisor}, 0)))`;
}

/** A filter of trades, held against positions: what it says of a trade holds for the closing one. */
function conditions(accountId: string, where: TradeWhere): SqlStatement<unknown> {
  const { from, to } = where.executedAt ?? {};
  const { exchange, symbols, side, strategy, orderIds, positionIds } = where;
  return fragment`
    ${exchange ? fragment`and exchange = ${exchange}` : fragment``}
    ${symbols ? fragment`and ${isOneOf(fragment`symbol`, symbols, fragment`text`)}` : fragment``}
    ${side ? fragment`and side = ${side === 'SELL' ? 'LONG' : 'SHORT'}` : fragment``}
    ${strategy ? fragment`and strategy = ${strategy}` : fragment``}
    ${positionIds ? fragment`and id = any(${positionIds}::uuid[])` : fragment``}
    ${
      orderIds
        ? fragment`and id in (
            select unnest(array[position_id, opened_position_id]) from trades
            where account_id = ${accountId} and order_id = any(${orderIds}::uuid[]))`
        : fragment``
    }
    ${from ? fragment`and closed_at >= ${from}` : fragment``}
    ${to ? fragment`and closed_at < ${to}` : fragment``}`;
}
