import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { Decimal } from '../datasources/decimal.ts';
import type { Order, OrderStatus, Registration } from '../datasources/order.ts';
import type { BatchMode } from '../datasources/unit-of-work.ts';
import { AppError } from '../errors.ts';
import {
  acceptedOf,
  assertAccepted,
  assertUnique,
  enterBatch,
  examine,
  ItemRefusal,
  payload,
} from './batch.ts';
import { assertJson, assertPositive, assertText } from './check.ts';
import {
  assertMove,
  assertOnGrid,
  indexByName,
  isOpenOrder,
  needsPrice,
  needsStopPrice,
  notOpen,
  type OrderName,
  type OrderResult,
  type OrdersPayload,
  orderNameOf,
  orderNotFound,
  refusedOrder,
  splitNames,
  textOfName,
} from './order.ts';
import { instrumentOf, isGiven } from './position.ts';
import { assertStops } from './stop.ts';
import { canonicalJson } from '../datasources/canonical.ts';

export interface UpdateOrderItem {
  readonly id?: string | null;
  readonly clientOrderId?: string | null;
  readonly expectedVersion?: number | null;
  readonly status?: OrderStatus | null;
  readonly exchangeOrderId?: string | null;
  readonly price?: string | null;
  readonly stopPrice?: string | null;
  readonly stopLossPrice?: string | null;
  readonly takeProfitPrice?: string | null;
  readonly quantity?: string | null;
  readonly reason?: string | null;
  readonly metadata?: unknown;
}

const SETTABLE: ReadonlySet<OrderStatus> = new Set(['OPEN', 'CANCELED', 'REJECTED', 'EXPIRED']);
/** What an order at the exchange is; a closed order keeps them. */
const TERMS = ['price', 'stopPrice', 'stopLossPrice', 'takeProfitPrice', 'quantity'] as const;

/**
 * Tells what became of orders at the exchange, and amends open ones: an absent field is left alone,
 * null clears it. One result per item, in input order; a refused one has the row as it is.
 * exchangeOrderId, reason and metadata may follow after the order has closed.
 * Of several faults the first counts: REJECTED, NOT_FOUND, CONFLICT; then UNCHANGED, UPDATED.
 *
 * @throws AppError BATCH_TOO_LARGE, BATCH_REJECTED, BAD_INPUT, FORBIDDEN
 */
export async function updateOrders(
  context: Context,
  input: { account?: string | null; mode?: BatchMode | null; items: readonly UpdateOrderItem[] },
): Promise<OrdersPayload> {
  const accountId = requireAccount(context.actor, input.account, 'orders:write');
  const { unit, mode } = enterBatch(context.unit, input.mode, input.items);
  const { orders } = context.datasources;
  const seen = new Set<string>();
  const names = input.items.map((item) => examine(() => check(accountId, item, seen)));
  const { ids, clientOrderIds } = splitNames(acceptedOf(names));
  const rows = await orders.lock(accountId, ids, clientOrderIds);
  const find = indexByName(rows, (row) => row);
  const isOnGrid = input.items.some((item) => item.price ?? item.stopPrice ?? item.quantity);
  const registrations = isOnGrid ? await readRegistrations(context, accountId, rows) : new Map();

  const changed = new Set<string>();
  const updates: { before: Order; next: Order }[] = [];
  const results = input.items.map((item, index): OrderResult => {
    const name = names[index];
    if (name === undefined) throw new Error('an item was not checked');
    if (name instanceof ItemRefusal) return refusedOrder(index, name, null);
    const before = find(name);
    if (before === null) return refusedOrder(index, orderNotFound(), null);
    const next = examine(() => {
      assertVersion(before, item.expectedVersion);
      // One row may be named by both of its ids.
      assertUnique(changed, before.id, [item.id ? 'id' : 'clientOrderId']);
      return nextState(before, item, registrations.get(instrumentOf(before)), unit.at);
    });
    if (next instanceof ItemRefusal) return refusedOrder(index, next, before);
    if (next === before) return { index, status: 'UNCHANGED', order: before, error: null };
    updates.push({ before, next });
    return { index, status: 'UPDATED', order: next, error: null };
  });
  assertAccepted(mode, results);
  if (updates.length > 0) await orders.updateMany(accountId, updates);
  return payload(results);
}

async function readRegistrations(
  context: Context,
  accountId: string,
  rows: readonly Order[],
): Promise<ReadonlyMap<string, Registration>> {
  const rules = await context.datasources.orders.findPlacingRules(accountId, rows);
  return new Map(rules?.registrations.map((one) => [instrumentOf(one), one]));
}

function check(accountId: string, item: UpdateOrderItem, seen: Set<string>): OrderName {
  const name = orderNameOf(accountId, item.id, item.clientOrderId, 'id');
  assertUnique(seen, textOfName(name), [item.id ? 'id' : 'clientOrderId']);
  for (const field of ['status', 'quantity'] as const) {
    if (item[field] === null) throw bad(`A ${field} cannot be cleared.`, field);
  }
  if (isGiven(item.status) && !SETTABLE.has(item.status)) {
    const settable = [...SETTABLE].join(', ');
    throw bad(`${item.status} is not set: fills make it; ${settable} are.`, 'status');
  }
  for (const field of TERMS) {
    const amount = item[field];
    if (isGiven(amount)) assertPositive(amount, [field]);
  }
  assertText(item.exchangeOrderId, ['exchangeOrderId']);
  assertText(item.reason, ['reason']);
  assertJson(item.metadata, ['metadata']);
  return name;
}

function assertVersion(order: Order, expectedVersion: number | null | undefined): void {
  if (!isGiven(expectedVersion) || expectedVersion === order.version) return;
  throw new ItemRefusal(
    'CONFLICT',
    'VERSION_CONFLICT',
    `The order is at version ${order.version}, not ${expectedVersion}.`,
    ['expectedVersion'],
  );
}

/** The row with the item's changes, or the same object where nothing differs. */
function nextState(
  current: Order,
  item: UpdateOrderItem,
  registration: Registration | undefined,
  at: string,
): Order {
  const wanted: Order = {
    ...current,
    price: chosen(item.price, current.price),
    stopPrice: chosen(item.stopPrice, current.stopPrice),
    stopLossPrice: chosen(item.stopLossPrice, current.stopLossPrice),
    takeProfitPrice: chosen(item.takeProfitPrice, current.takeProfitPrice),
    quantity: item.quantity ?? current.quantity,
    exchangeOrderId: chosen(item.exchangeOrderId, current.exchangeOrderId),
    reason: chosen(item.reason, current.reason),
    metadata: item.metadata === undefined ? current.metadata : item.metadata,
  };
  const isAmended = TERMS.some((field) => wanted[field] !== current[field]);
  if (isAmended) {
    if (!isOpenOrder(current)) throw notOpen(current);
    assertTerms(wanted, item, registration);
  }
  const isFull = new Decimal(wanted.quantity).eq(wanted.filledQuantity);
  // An order that is amended to what is filled already is FILLED.
  const status = item.status ?? (isFull ? 'FILLED' : current.status);
  assertMove(current, status);
  if (isFull && status !== 'FILLED') throw filledBy(wanted, status);
  const next = { ...wanted, status, closedAt: current.closedAt };
  if (canonicalJson(next) === canonicalJson(current)) return current;
  const isClosed = !isOpenOrder(next);
  return {
    ...next,
    updatedAt: at,
    closedAt: isClosed ? (current.closedAt ?? at) : null,
    version: current.version + 1,
  };
}

function filledBy({ quantity }: Order, status: OrderStatus): ItemRefusal {
  return new ItemRefusal(
    'CONFLICT',
    'ILLEGAL_TRANSITION',
    `A quantity of ${quantity} is filled already: the order is FILLED by it, not ${status}.`,
    ['quantity'],
  );
}

function assertTerms(
  wanted: Order,
  item: UpdateOrderItem,
  registration: Registration | undefined,
): void {
  const { type, price, stopPrice, quantity, filledQuantity } = wanted;
  if (needsPrice(type) && price === null) throw bad(`A ${type} order needs a price.`, 'price');
  if (needsStopPrice(type) && stopPrice === null) {
    throw bad(`A ${type} order needs a stopPrice.`, 'stopPrice');
  }
  if (new Decimal(quantity).lt(filledQuantity)) {
    throw new ItemRefusal(
      'CONFLICT',
      'BELOW_FILLED',
      `${filledQuantity} are filled already: the quantity cannot become ${quantity}.`,
      ['quantity'],
    );
  }
  assertOnGrid(registration, {
    price: item.price ?? null,
    stopPrice: item.stopPrice ?? null,
    quantity: item.quantity ?? null,
  });
  // A stop that is left alone is not this item's fault.
  const stops = {
    stopLossPrice: item.stopLossPrice ?? null,
    takeProfitPrice: item.takeProfitPrice ?? null,
  };
  const isReducing =
    wanted.reduceOnly || (wanted.side === 'BUY') !== (wanted.positionSide === 'LONG');
  const reference = price ?? stopPrice;
  if (!isReducing && reference !== null) assertStops(wanted.positionSide, stops, reference);
}

function chosen(given: string | null | undefined, current: string | null): string | null {
  return given === undefined ? current : given;
}

function bad(message: string, field: string): AppError {
  return new AppError('BAD_INPUT', message, { path: [field] });
}
