import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { Decimal } from '../datasources/decimal.ts';
import { requireId, uuidOf } from '../datasources/id.ts';
import type {
  Order,
  OrderStatus,
  OrderType,
  OrderWhere,
  Registration,
} from '../datasources/order.ts';
import { toOrderWhere } from '../datasources/row-where.ts';
import { AppError } from '../errors.ts';
import { type BatchPayload, ItemRefusal, type ItemResult, itemError } from './batch.ts';
import { assertText } from './check.ts';
import { type Page, type PageArguments, readPage } from './page.ts';

export const CLIENT_ORDER_ID_LENGTH_MAX = 64;

export interface OrderResult extends ItemResult {
  readonly order: Order | null;
}

export type OrdersPayload = BatchPayload<OrderResult>;

/** Orders that match, newest placed first unless sorted otherwise. */
export async function orders(
  context: Context,
  input: PageArguments & { account?: string | null; where?: OrderWhere | null },
): Promise<Page<Order>> {
  const accountId = requireAccount(context.actor, input.account, 'orders:read');
  const where = toOrderWhere(accountId, input.where);
  const { orders: rows } = context.datasources;
  return readPage(input, { kind: 'order', accountId, where, rows });
}

export type OrderName = { readonly id: string } | { readonly clientOrderId: string };

/** How an item names its order: by id or by clientOrderId. @throws AppError BAD_INPUT */
export function orderNameOf(
  accountId: string,
  id: string | null | undefined,
  clientOrderId: string | null | undefined,
  idField: 'id' | 'orderId',
): OrderName {
  if (id && !clientOrderId) return { id: requireId(id, 'order', accountId, [idField]) };
  if (clientOrderId && !id) {
    assertText(clientOrderId, ['clientOrderId'], CLIENT_ORDER_ID_LENGTH_MAX);
    return { clientOrderId };
  }
  throw new AppError(
    'BAD_INPUT',
    `Name the order by ${idField} or clientOrderId: one of the two.`,
    {
      path: [idField],
    },
  );
}

export function textOfName(name: OrderName): string {
  return 'id' in name ? name.id : `client ${name.clientOrderId}`;
}

/** The names of a batch as a repository takes them. */
export function splitNames(names: readonly OrderName[]): {
  readonly ids: readonly string[];
  readonly clientOrderIds: readonly string[];
} {
  return {
    ids: names.flatMap((name) => ('id' in name ? [name.id] : [])),
    clientOrderIds: names.flatMap((name) => ('id' in name ? [] : [name.clientOrderId])),
  };
}

/** Rows by either of their names. */
export function indexByName<Row>(
  rows: readonly Row[],
  orderOf: (row: Row) => Order,
): (name: OrderName) => Row | null {
  const byName = new Map<string, Row>();
  for (const row of rows) {
    const { id, clientOrderId } = orderOf(row);
    byName.set(textOfName({ id }), row);
    byName.set(textOfName({ clientOrderId }), row);
  }
  return (name) => byName.get(textOfName(name)) ?? null;
}

export function refusedOrder(
  index: number,
  refusal: ItemRefusal,
  order: Order | null,
  list?: string,
): OrderResult {
  return { index, status: refusal.status, order, error: itemError(index, refusal, list) };
}

export function orderNotFound(): ItemRefusal {
  return new ItemRefusal('NOT_FOUND', 'NOT_FOUND', 'There is no such order.');
}

export function isOpenOrder({ status }: Order): boolean {
  return status === 'PENDING' || status === 'OPEN' || status === 'PARTIALLY_FILLED';
}

const MOVES: Readonly<Record<OrderStatus, readonly OrderStatus[]>> = {
  PENDING: ['OPEN', 'PARTIALLY_FILLED', 'FILLED', 'CANCELED', 'REJECTED', 'EXPIRED'],
  OPEN: ['PARTIALLY_FILLED', 'FILLED', 'CANCELED', 'REJECTED', 'EXPIRED'],
  PARTIALLY_FILLED: ['FILLED', 'CANCELED', 'EXPIRED'],
  FILLED: [],
  CANCELED: [],
  REJECTED: [],
  EXPIRED: [],
};

/** @throws ItemRefusal ORDER_NOT_OPEN or ILLEGAL_TRANSITION for a move that orders do not make */
export function assertMove(order: Order, next: OrderStatus): void {
  if (order.status === next || MOVES[order.status].includes(next)) return;
  if (!isOpenOrder(order)) throw notOpen(order);
  throw new ItemRefusal(
    'CONFLICT',
    'ILLEGAL_TRANSITION',
    `An order that is ${order.status} does not become ${next}.`,
    ['status'],
  );
}

export function notOpen(order: Order): ItemRefusal {
  return new ItemRefusal('CONFLICT', 'ORDER_NOT_OPEN', `The order is ${order.status}.`);
}

const LIMIT_TYPES: ReadonlySet<OrderType> = new Set(['LIMIT', 'STOP_LIMIT', 'TAKE_PROFIT_LIMIT']);
const STOP_TYPES: ReadonlySet<OrderType> = new Set([
  'STOP_MARKET',
  'STOP_LIMIT',
  'TAKE_PROFIT_MARKET',
  'TAKE_PROFIT_LIMIT',
]);

export function needsPrice(type: OrderType): boolean {
  return LIMIT_TYPES.has(type);
}

export function needsStopPrice(type: OrderType): boolean {
  return STOP_TYPES.has(type);
}

/** @throws ItemRefusal OFF_TICK or OFF_STEP unless the amounts are multiples; null: not checked */
export function assertOnGrid(
  registration: Registration | undefined,
  amounts: {
    readonly price: string | null;
    readonly stopPrice: string | null;
    readonly quantity: string | null;
  },
): void {
  if (registration === undefined) return;
  const { tickSize, stepSize } = registration;
  assertMultiple(amounts.price, tickSize, 'OFF_TICK', 'price');
  assertMultiple(amounts.stopPrice, tickSize, 'OFF_TICK', 'stopPrice');
  assertMultiple(amounts.quantity, stepSize, 'OFF_STEP', 'quantity');
}

function assertMultiple(
  amount: string | null,
  size: string | null,
  code: 'OFF_TICK' | 'OFF_STEP',
  name: string,
): void {
  if (amount === null || size === null || new Decimal(amount).mod(size).isZero()) return;
  throw new ItemRefusal('REJECTED', code, `The ${name} ${amount} is no multiple of ${size}.`, [
    name,
  ]);
}

/** UUIDv7s of these times; of rows of one millisecond the earlier one gets the smaller id. */
export function idsInOrder(timesMs: readonly number[]): readonly string[] {
  const ids = timesMs.map(uuidOf);
  const byTime = Map.groupBy(ids.keys(), (place) => timesMs[place]);
  const ordered = [...ids];
  for (const places of byTime.values()) {
    const sorted = places.map((place) => ids[place] ?? '').sort();
    for (const [rank, place] of places.entries()) ordered[place] = sorted[rank] ?? '';
  }
  return ordered;
}
