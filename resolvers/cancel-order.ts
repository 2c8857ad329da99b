import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { requireId } from '../datasources/id.ts';
import type { Order, OrderWhere } from '../datasources/order.ts';
import { toOrderWhere } from '../datasources/row-where.ts';
import type { BatchMode } from '../datasources/unit-of-work.ts';
import { AppError } from '../errors.ts';
import {
  acceptedOf,
  assertAccepted,
  assertUnique,
  enterBatch,
  enterItems,
  examine,
  ItemRefusal,
  payload,
} from './batch.ts';
import { assertText } from './check.ts';
import {
  CLIENT_ORDER_ID_LENGTH_MAX,
  indexByName,
  isOpenOrder,
  notOpen,
  type OrderName,
  type OrderResult,
  type OrdersPayload,
  orderNotFound,
  refusedOrder,
  splitNames,
  textOfName,
} from './order.ts';
import { isGiven } from './position.ts';

/** Orders that one cancelOrders by `where` may cancel. */
const CANCEL_MATCHES_MAX = 10_000;

export interface CancelOrdersInput {
  readonly account?: string | null;
  readonly mode?: BatchMode | null;
  readonly ids?: readonly string[] | null;
  readonly clientOrderIds?: readonly string[] | null;
  readonly where?: OrderWhere | null;
  readonly reason?: string | null;
}

/**
 * Cancels the orders that are still open and leaves the others as they are. Named by ids or by
 * clientOrderIds: one result per name, in input order. By `where`: one result per open order that
 * matches, oldest first; an empty filter is every open order.
 * Of several faults the first counts: REJECTED, NOT_FOUND, CONFLICT (it was FILLED, REJECTED or
 * EXPIRED); then UNCHANGED (it was CANCELED already), UPDATED.
 *
 * @throws AppError BATCH_TOO_LARGE over 1000 names or 10,000 matches; BATCH_REJECTED, BAD_INPUT,
 * FORBIDDEN
 */
export async function cancelOrders(
  context: Context,
  input: CancelOrdersInput,
): Promise<OrdersPayload> {
  const accountId = requireAccount(context.actor, input.account, 'orders:write');
  const { ids, clientOrderIds, where } = input;
  if ([ids, clientOrderIds, where].filter(isGiven).length !== 1) {
    throw new AppError('BAD_INPUT', 'Give ids, clientOrderIds or where: exactly one.', {
      path: ['input'],
    });
  }
  assertText(input.reason, ['input', 'reason']);
  if (ids) return cancelNamed(context, accountId, input, ids, 'ids');
  if (clientOrderIds) {
    return cancelNamed(context, accountId, input, clientOrderIds, 'clientOrderIds');
  }
  return cancelMatching(context, accountId, input, where ?? {});
}

async function cancelNamed(
  context: Context,
  accountId: string,
  input: CancelOrdersInput,
  texts: readonly string[],
  list: 'ids' | 'clientOrderIds',
): Promise<OrdersPayload> {
  const { unit, mode } = enterBatch(context.unit, input.mode ?? 'PER_ITEM', texts, list);
  const { orders } = context.datasources;
  const seen = new Set<string>();
  const names = texts.map((text) => examine(() => nameOf(accountId, text, list, seen)));
  const { ids, clientOrderIds } = splitNames(acceptedOf(names));
  const find = indexByName(await orders.lock(accountId, ids, clientOrderIds), (row) => row);
  const results = names.map((name, index): OrderResult => {
    if (name instanceof ItemRefusal) return refusedOrder(index, name, null, list);
    const order = find(name);
    if (order === null) return refusedOrder(index, orderNotFound(), null, list);
    if (order.status === 'CANCELED') return { index, status: 'UNCHANGED', order, error: null };
    if (!isOpenOrder(order)) return refusedOrder(index, notOpen(order), order, list);
    return { index, status: 'UPDATED', order: canceled(order, input, unit.at), error: null };
  });
  assertAccepted(mode, results);
  const updates = results.flatMap(({ status, order: next }) => {
    const before = next === null ? null : find({ id: next.id });
    return status === 'UPDATED' && next !== null && before !== null ? [{ before, next }] : [];
  });
  if (updates.length > 0) await orders.updateMany(accountId, updates);
  return payload(results);
}

function nameOf(
  accountId: string,
  text: string,
  list: 'ids' | 'clientOrderIds',
  seen: Set<string>,
): OrderName {
  if (list === 'clientOrderIds') assertText(text, [], CLIENT_ORDER_ID_LENGTH_MAX);
  const name =
    list === 'ids' ? { id: requireId(text, 'order', accountId, []) } : { clientOrderId: text };
  assertUnique(seen, textOfName(name), []);
  return name;
}

async function cancelMatching(
  context: Context,
  accountId: string,
  input: CancelOrdersInput,
  where: OrderWhere,
): Promise<OrdersPayload> {
  const { unit } = context;
  if (unit === null) throw new Error('a batch outside of a mutation');
  const mode = input.mode ?? 'PER_ITEM';
  unit.enter(mode);
  const { orders } = context.datasources;
  const filter = toOrderWhere(accountId, where, ['input', 'where']);
  const open = await orders.lockOpen(accountId, filter, CANCEL_MATCHES_MAX + 1);
  if (open.length > CANCEL_MATCHES_MAX) {
    throw new AppError(
      'BATCH_TOO_LARGE',
      `More than ${CANCEL_MATCHES_MAX} open orders match: narrow the filter.`,
      { path: ['input', 'where'], details: { itemsMax: CANCEL_MATCHES_MAX } },
    );
  }
  enterItems(unit, mode, open.length, ['input', 'where']);
  const updates = open.map((before) => ({ before, next: canceled(before, input, unit.at) }));
  if (updates.length > 0) await orders.updateMany(accountId, updates);
  return payload(
    updates.map(({ next }, index) => ({ index, status: 'UPDATED', order: next, error: null })),
  );
}

function canceled(order: Order, { reason }: CancelOrdersInput, at: string): Order {
  return {
    ...order,
    status: 'CANCELED',
    reason: reason ?? order.reason,
    updatedAt: at,
    closedAt: at,
    version: order.version + 1,
  };
}
