import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { requireId } from '../datasources/id.ts';
import type { Trade, TradeWhere } from '../datasources/trade.ts';
import { type Page, type PageArguments, readPage } from './page.ts';

/** Trades that match, newest executed first unless sorted otherwise. */
export async function trades(
  context: Context,
  input: PageArguments & { account?: string | null; where?: TradeWhere | null },
): Promise<Page<Trade>> {
  const accountId = requireAccount(context.actor, input.account, 'trades:read');
  const where = toTradeWhere(accountId, input.where);
  const { trades: rows } = context.datasources;
  return readPage(input, { kind: 'trade', accountId, where, rows });
}

/** A filter with row ids. @throws AppError BAD_INPUT for an id of another kind or account */
export function toTradeWhere(accountId: string, where: TradeWhere | null | undefined): TradeWhere {
  if (!where) return {};
  const rowIds = (
    ids: readonly string[] | null | undefined,
    kind: 'order' | 'position',
    field: string,
  ) =>
    ids?.map((id, index) => requireId(id, kind, accountId, ['where', field, String(index)])) ??
    null;
  return {
    ...where,
    orderIds: rowIds(where.orderIds, 'order', 'orderIds'),
    positionIds: rowIds(where.positionIds, 'position', 'positionIds'),
  };
}
