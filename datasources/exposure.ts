import { type PositionWhere, positionConditions } from './position.ts';
import { fragment, type Sql } from './sql.ts';

/** What the open positions of an account are worth. Amounts are in quote currency. */
export interface Exposure {
  readonly openPositions: number;
  readonly longNotional: string;
  readonly shortNotional: string;
  readonly netNotional: string;
  readonly grossNotional: string;
  readonly unrealizedPnl: string;
  readonly realizedPnlToday: string;
  readonly fees: string;
  /** The seq of the account's head in the same snapshot. */
  readonly asOfSeq: string;
}

export function createExposureRepository(sql: Sql) {
  return {
    /**
     * Of the open positions that match, at their marks or, without one, their entries; with the
     * profit realized since midnight UTC by positions that match whatever their status. One
     * statement, so all of it is of one moment. Null where there is no such account.
     */
    async find(accountId: string, where: PositionWhere): Promise<Exposure | null> {
      const [row] = await sql<Exposure>`
        /* exposure.find */
        with valued as (
          select p.side, p.fees, p.quantity * coalesce(m.price, p.entry_price) as notional,
            (coalesce(m.price, p.entry_price) - p.entry_price) * p.quantity
              * case p.side when 'LONG' then 1 else -1 end as pnl
          from (
            select * from positions
            where account_id = ${accountId} and status = 'OPEN' ${positionConditions(where)}
          ) as p
          left join marks as m using (account_id, exchange, symbol)
        ), summed as (
          select count(*)::int as open_positions,
            divide_half_even(coalesce(sum(notional) filter (where side = 'LONG'), 0), 1) as long,
            divide_half_even(coalesce(sum(notional) filter (where side = 'SHORT'), 0), 1) as short,
            coalesce(sum(divide_half_even(pnl, 1)), 0) as pnl, coalesce(sum(fees), 0) as fees
          from valued
        )
        select open_positions, trim_scale(long) as long_notional,
          trim_scale(short) as short_notional, trim_scale(long - short) as net_notional,
          trim_scale(long + short) as gross_notional, trim_scale(pnl) as unrealized_pnl,
          (select trim_scale(coalesce(sum(realized_pnl), 0)) from trades
            where account_id = ${accountId} and executed_at >= ${today}
              and executed_at < ${today} + interval '24 hours' and id >= uuid_at(${today})
              ${ofPositions(accountId, where)}) as realized_pnl_today,
          trim_scale(fees) as fees, head.seq as as_of_seq
        from summed join account_heads as head on head.account_id = ${accountId}`;
      return row ?? null;
    },
  };
}

const today = fragment`date_trunc('day', now(), 'UTC')`;

/** A position closed today is not open any more. */
function ofPositions(accountId: string, { status: _status, ...where }: PositionWhere) {
  if (Object.values(where).every((value) => value === null || value === undefined)) {
    return fragment``;
  }
  return fragment`and position_id in (
    select id from positions where account_id = ${accountId} ${positionConditions(where)})`;
}
