import { requireId, type IdKind } from './id.ts';
import type { OrderWhere } from './order.ts';
import type { PositionWhere } from './position.ts';
import type { TradeWhere } from './trade.ts';

// Filters as clients give them name rows by global ids; those of repositories by row ids. Each of
// these throws BAD_INPUT for an id of another kind or account.

/** `path` is where the filter stands in the arguments. */
export function toOrderWhere(
  accountId: string,
  where: OrderWhere | null | undefined,
  path: readonly string[] = ['where'],
): OrderWhere {
  if (!where) return {};
  return { ...where, ids: rowIds('order', accountId, where.ids, [...path, 'ids']) };
}

export function toPositionWhere(
  accountId: string,
  where: PositionWhere | null | undefined,
): PositionWhere {
  if (!where) return {};
  return { ...where, ids: rowIds('position', accountId, where.ids, ['where', 'ids']) };
}

export function toTradeWhere(accountId: string, where: TradeWhere | null | undefined): TradeWhere {
  if (!where) return {};
  const { orderIds, positionIds } = where;
  return {
    ...where,
    orderIds: rowIds('order', accountId, orderIds, ['where', 'orderIds']),
    positionIds: rowIds('position', accountId, positionIds, ['where', 'positionIds']),
  };
}

function rowIds(
  kind: IdKind,
  accountId: string,
  ids: readonly string[] | null | undefined,
  path: readonly string[],
): readonly string[] | null {
  return ids?.map((id, index) => requireId(id, kind, accountId, [...path, String(index)])) ?? null;
}
