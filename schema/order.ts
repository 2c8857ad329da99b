import { encodeId } from '../datasources/id.ts';
import type { Order as OrderRecord } from '../datasources/order.ts';
import { cancelOrders } from '../resolvers/cancel-order.ts';
import {
  type OrderResult as OrderResultRecord,
  orders,
  type OrdersPayload as Payload,
} from '../resolvers/order.ts';
import { placeOrders } from '../resolvers/place-order.ts';
import { updateOrders } from '../resolvers/update-order.ts';
import { Account } from './account.ts';
import { BatchCounts, batchFields, ItemError } from './batch.ts';
import { builder } from './builder.ts';
import {
  BatchMode,
  ItemStatus,
  OrderSide,
  OrderStatus,
  OrderType,
  PositionSide,
  TimeInForce,
} from './enums.ts';
import { Node } from './node.ts';
import { pageArguments, pageType } from './page.ts';
import { Position } from './position.ts';
import { listLoader, loadPosition, RELATED_MAX } from './relation.ts';
import { TimeRange } from './time-range.ts';

const loadOrders = listLoader(async (context, accountId, ids, bounds) => {
  const rows = await context.datasources.orders.listByPositions(accountId, ids, bounds);
  return rows.map(({ parentId, order }) => ({ parentId, row: order }));
});

export const Order = builder.objectRef<OrderRecord>('Order');

Order.implement({
  description: 'An instruction to buy or sell, and what has become of it.',
  interfaces: [Node],
  fields: (t) => ({
    id: t.id({ resolve: ({ accountId, id }) => encodeId('order', accountId, id) }),
    account: t.field({ type: Account, resolve: (order) => order.accountId }),
    exchange: t.exposeString('exchange'),
    symbol: t.exposeString('symbol'),
    side: t.expose('side', { type: OrderSide }),
    type: t.expose('type', { type: OrderType }),
    timeInForce: t.expose('timeInForce', { type: TimeInForce }),
    status: t.expose('status', { type: OrderStatus }),
    price: t.expose('price', { type: 'Decimal', nullable: true }),
    stopPrice: t.expose('stopPrice', { type: 'Decimal', nullable: true }),
    quantity: t.expose('quantity', { type: 'Decimal', description: 'In base currency.' }),
    filledQuantity: t.expose('filledQuantity', {
      type: 'Decimal',
      description: 'The sum of its fills: never above quantity.',
    }),
    averagePrice: t.expose('averagePrice', {
      type: 'Decimal',
      nullable: true,
      description: 'Of its fills, weighted; rounded half-even to 18 digits. Null before the first.',
    }),
    stopLossPrice: t.expose('stopLossPrice', {
      type: 'Decimal',
      nullable: true,
      description: 'For the position that its fills open.',
    }),
    takeProfitPrice: t.expose('takeProfitPrice', {
      type: 'Decimal',
      nullable: true,
      description: 'For the position that its fills open.',
    }),
    trailBy: t.expose('trailBy', { type: 'Decimal', nullable: true }),
    leverage: t.expose('leverage', { type: 'Decimal' }),
    reduceOnly: t.exposeBoolean('reduceOnly', { description: 'Its fills open nothing.' }),
    positionSide: t.expose('positionSide', {
      type: PositionSide,
      description: 'One-way: LONG for BUY, SHORT for SELL, inverted when it only reduces.',
    }),
    expiresAt: t.expose('expiresAt', { type: 'DateTime', nullable: true }),
    clientOrderId: t.exposeString('clientOrderId', { description: 'Unique per account.' }),
    exchangeOrderId: t.exposeString('exchangeOrderId', { nullable: true }),
    strategy: t.exposeString('strategy', { nullable: true }),
    reason: t.exposeString('reason', {
      nullable: true,
      description: 'Why it was canceled, rejected or changed.',
    }),
    metadata: t.expose('metadata', { type: 'JSON', nullable: true }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was stored.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime' }),
    closedAt: t.expose('closedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When it was first FILLED, CANCELED, REJECTED or EXPIRED here.',
    }),
    version: t.exposeInt('version', {
      description: 'Counts the changes of this row; give it as expectedVersion.',
    }),
    position: t.field({
      type: Position,
      nullable: true,
      description: 'The position that its last fill moved or opened; null before the first.',
      resolve: ({ accountId, positionId }, _args, context) =>
        positionId === null ? null : loadPosition(context, accountId, positionId),
    }),
  }),
});

builder.objectField(Position, 'orders', (t) =>
  t.field({
    type: [Order],
    description: `Those whose fills moved it: the newest ${RELATED_MAX}, oldest first.`,
    resolve: async ({ accountId, id }, _args, context) => [
      ...(await loadOrders(context, accountId, id)),
    ],
  }),
);

const OrderConnection = pageType<OrderRecord>('Order', Order);

export const OrderWhere = builder.inputType('OrderWhere', {
  description:
    'All of the given must hold. Indexed: ids, clientOrderIds, symbols, createdAt, open statuses.',
  fields: (t) => ({
    ids: t.idList(),
    exchange: t.string(),
    symbols: t.stringList(),
    status: t.field({ type: [OrderStatus] }),
    side: t.field({ type: OrderSide }),
    strategy: t.string(),
    clientOrderIds: t.stringList(),
    createdAt: t.field({ type: TimeRange }),
  }),
});

const OrderResult = builder.objectRef<OrderResultRecord>('OrderResult').implement({
  description: 'What became of one item.',
  fields: (t) => ({
    index: t.exposeInt('index', { description: 'The place of the item in the input, from 0.' }),
    status: t.expose('status', { type: ItemStatus }),
    order: t.field({
      type: Order,
      nullable: true,
      description: 'The row after this item; of a refused item the row it met.',
      resolve: (result) => result.order,
    }),
    error: t.expose('error', { type: ItemError, nullable: true }),
  }),
});

const OrdersPayload = builder.objectRef<Payload>('OrdersPayload').implement({
  fields: (t) => ({
    results: t.field({
      type: [OrderResult],
      description: 'One an item, in input order.',
      resolve: ({ results }) => [...results],
    }),
    counts: t.expose('counts', { type: BatchCounts }),
  }),
});

const PlaceOrderItem = builder.inputType('PlaceOrderItem', {
  description: 'Its natural key is clientOrderId: the same item again is REPLAYED.',
  fields: (t) => ({
    clientOrderId: t.string({ required: true, description: '1 to 64 characters.' }),
    exchange: t.string({ required: true, description: 'Lower case: `bybit`.' }),
    symbol: t.string({ required: true, description: 'Upper case: `BTCUSDT`.' }),
    side: t.field({ type: OrderSide, required: true }),
    type: t.field({ type: OrderType, required: true }),
    quantity: t.field({ type: 'Decimal', required: true, description: 'Above 0.' }),
    price: t.field({
      type: 'Decimal',
      description: 'Needed by the LIMIT types; of the others only a reference.',
    }),
    stopPrice: t.field({
      type: 'Decimal',
      description: 'Needed by the STOP and TAKE_PROFIT types.',
    }),
    timeInForce: t.field({ type: TimeInForce, defaultValue: 'GTC' }),
    expiresAt: t.field({ type: 'DateTime', description: 'With GTD, and only then.' }),
    trailBy: t.field({ type: 'Decimal', description: 'With TRAILING_STOP, and only then.' }),
    stopLossPrice: t.field({
      type: 'Decimal',
      description: 'For the position it opens. LONG: below the price; SHORT: above it.',
    }),
    takeProfitPrice: t.field({
      type: 'Decimal',
      description: 'For the position it opens. LONG: above the price; SHORT: below it.',
    }),
    leverage: t.field({ type: 'Decimal', defaultValue: '1', description: 'Above 0, up to 1000.' }),
    reduceOnly: t.boolean({ defaultValue: false }),
    positionSide: t.field({
      type: PositionSide,
      description: 'Required in a hedge account; in a one-way account it follows from the side.',
    }),
    strategy: t.string(),
    metadata: t.field({ type: 'JSON', description: 'Up to 16 KiB.' }),
  }),
});

const PlaceOrdersInput = builder.inputType('PlaceOrdersInput', {
  fields: (t) => ({
    ...batchFields(t),
    items: t.field({ type: [PlaceOrderItem], required: true, description: '1 to 1000.' }),
  }),
});

const UpdateOrderItem = builder.inputType('UpdateOrderItem', {
  description:
    'Names an order by id or clientOrderId. An absent field is left alone, null clears it.',
  fields: (t) => ({
    id: t.id(),
    clientOrderId: t.string(),
    expectedVersion: t.int({ description: 'CONFLICT unless the row is at this version.' }),
    status: t.field({
      type: OrderStatus,
      description: 'OPEN, CANCELED, REJECTED or EXPIRED; the others are made by fills.',
    }),
    exchangeOrderId: t.string(),
    price: t.field({ type: 'Decimal' }),
    stopPrice: t.field({ type: 'Decimal' }),
    stopLossPrice: t.field({ type: 'Decimal' }),
    takeProfitPrice: t.field({ type: 'Decimal' }),
    quantity: t.field({ type: 'Decimal', description: 'Not below what is filled.' }),
    reason: t.string(),
    metadata: t.field({ type: 'JSON' }),
  }),
});

const UpdateOrdersInput = builder.inputType('UpdateOrdersInput', {
  fields: (t) => ({
    ...batchFields(t),
    items: t.field({ type: [UpdateOrderItem], required: true, description: '1 to 1000.' }),
  }),
});

const CancelOrdersInput = builder.inputType('CancelOrdersInput', {
  description: 'ids, clientOrderIds or where: exactly one.',
  fields: (t) => ({
    account: t.id({ description: 'May be left out by a key that is for one account.' }),
    mode: t.field({ type: BatchMode, defaultValue: 'PER_ITEM' }),
    ids: t.idList({ description: '1 to 1000.' }),
    clientOrderIds: t.stringList({ description: '1 to 1000.' }),
    where: t.field({
      type: OrderWhere,
      description: 'Open orders that match, up to 10,000; `{}` is every open order.',
    }),
    reason: t.string(),
  }),
});

builder.queryField('orders', (t) =>
  t.field({
    description: 'Orders that match, by the time they were placed, newest first.',
    type: OrderConnection,
    nullable: true,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: OrderWhere }),
      ...pageArguments(t.arg),
    },
    resolve: (_root, args, context) => orders(context, args),
  }),
);

builder.mutationFields((t) => ({
  placeOrders: t.field({
    description:
      'Stores orders as PENDING. Item statuses, the first that holds: REJECTED (the item itself), ' +
      'REPLAYED, CONFLICT (other content under the clientOrderId), REJECTED (the account or the ' +
      'instrument), CREATED.',
    type: OrdersPayload,
    args: { input: t.arg({ type: PlaceOrdersInput, required: true }) },
    resolve: (_root, { input }, context) => placeOrders(context, input),
  }),
  updateOrders: t.field({
    description:
      'Tells what became of orders at the exchange and amends open ones. Item statuses, the first ' +
      'that holds: REJECTED, NOT_FOUND, CONFLICT, UNCHANGED, UPDATED.',
    type: OrdersPayload,
    args: { input: t.arg({ type: UpdateOrdersInput, required: true }) },
    resolve: (_root, { input }, context) => updateOrders(context, input),
  }),
  cancelOrders: t.field({
    description:
      'Cancels the orders that are still open. One result per name in input order, or per match. ' +
      'Item statuses, the first that holds: REJECTED, NOT_FOUND, CONFLICT, UNCHANGED (CANCELED ' +
      'already), UPDATED.',
    type: OrdersPayload,
    args: { input: t.arg({ type: CancelOrdersInput, required: true }) },
    resolve: (_root, { input }, context) => cancelOrders(context, input),
  }),
}));
