import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { toTradeWhere } from '../datasources/row-where.ts';
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
