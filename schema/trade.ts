import { encodeId } from '../datasources/id.ts';
import type { Trade as TradeRecord } from '../datasources/trade.ts';
import {
  recordTrades,
  type TradeResult as TradeResultRecord,
  type TradesPayload as Payload,
} from '../resolvers/record-trade.ts';
import { trades } from '../resolvers/trade.ts';
import { Account } from './account.ts';
import { BatchCounts, batchFields, ItemError } from './batch.ts';
import { builder } from './builder.ts';
import { ItemStatus, OrderSide } from './enums.ts';
import { Node } from './node.ts';
import { Order } from './order.ts';
import { pageArguments, pageType } from './page.ts';
import { Position } from './position.ts';
import { listLoader, loadOrder, loadPosition, RELATED_MAX } from './relation.ts';
import { TimeRange } from './time-range.ts';

const loadTradesOfOrder = listLoader(async (context, accountId, ids, bounds) => {
  const rows = await context.datasources.trades.listByOrders(accountId, ids, bounds);
  return rows.map((row) => ({ parentId: row.orderId ?? '', row }));
});

const loadTradesOfPosition = listLoader(async (context, accountId, ids, bounds) => {
  const rows = await context.datasources.trades.listByPositions(accountId, ids, bounds);
  return rows.map(({ parentId, trade }) => ({ parentId, row: trade }));
});

export const Trade = builder.objectRef<TradeRecord>('Trade');

Trade.implement({
  description: 'One execution: a fill, or the opening or closing of a position without an order.',
  interfaces: [Node],
  fields: (t) => ({
    id: t.id({ resolve: ({ accountId, id }) => encodeId('trade', accountId, id) }),
    account: t.field({ type: Account, resolve: (trade) => trade.accountId }),
    exchange: t.exposeString('exchange'),
    symbol: t.exposeString('symbol'),
    side: t.expose('side', { type: OrderSide }),
    price: t.expose('price', { type: 'Decimal' }),
    quantity: t.expose('quantity', { type: 'Decimal', description: 'In base currency.' }),
    commission: t.expose('commission', {
      type: 'Decimal',
      description: 'In commissionAsset; below 0: a rebate.',
    }),
    commissionAsset: t.exposeString('commissionAsset', {
      nullable: true,
      description: 'Null: the quote currency.',
    }),
    realizedPnl: t.expose('realizedPnl', {
      type: 'Decimal',
      description:
        'In quote currency, commission apart: (price − entry) · quantity of what it closed, sign ' +
        'flipped for SHORT, rounded half-even to 18 digits.',
    }),
    exchangeTradeId: t.exposeString('exchangeTradeId', { nullable: true }),
    strategy: t.exposeString('strategy', { nullable: true }),
    executedAt: t.expose('executedAt', { type: 'DateTime' }),
    order: t.field({
      type: Order,
      nullable: true,
      description: 'Null: opened or closed by openPositions or closePositions.',
      resolve: ({ accountId, orderId }, _args, context) =>
        orderId === null ? null : loadOrder(context, accountId, orderId),
    }),
    position: t.field({
      type: Position,
      description: 'The position that it opened, added to, reduced or closed.',
      resolve: async ({ accountId, positionId }, _args, context) => {
        const position = await loadPosition(context, accountId, positionId);
        if (position === null) throw new Error(`no position ${positionId} of a trade`);
        return position;
      },
    }),
    openedPosition: t.field({
      type: Position,
      nullable: true,
      description: 'The other side of a flip.',
      resolve: ({ accountId, openedPositionId }, _args, context) =>
        openedPositionId === null ? null : loadPosition(context, accountId, openedPositionId),
    }),
  }),
});

builder.objectField(Order, 'trades', (t) =>
  t.field({
    type: [Trade],
    description: `Its fills: the newest ${RELATED_MAX}, oldest first.`,
    resolve: async ({ accountId, id }, _args, context) => [
      ...(await loadTradesOfOrder(context, accountId, id)),
    ],
  }),
);

builder.objectField(Position, 'trades', (t) =>
  t.field({
    type: [Trade],
    description: `What moved or opened it: the newest ${RELATED_MAX}, oldest first.`,
    resolve: async ({ accountId, id }, _args, context) => [
      ...(await loadTradesOfPosition(context, accountId, id)),
    ],
  }),
);

const TradeConnection = pageType<TradeRecord>('Trade', Trade);

export const TradeWhere = builder.inputType('TradeWhere', {
  description: 'All of the given must hold. Indexed: orderIds, positionIds, symbols, executedAt.',
  fields: (t) => ({
    exchange: t.string(),
    symbols: t.stringList(),
    side: t.field({ type: OrderSide }),
    strategy: t.string(),
    orderIds: t.idList(),
    positionIds: t.idList({ description: 'Moved or opened by the trade.' }),
    executedAt: t.field({ type: TimeRange }),
  }),
});

const TradeResult = builder.objectRef<TradeResultRecord>('TradeResult').implement({
  description: 'What became of one item. Rows are as the batch leaves them.',
  fields: (t) => ({
    index: t.exposeInt('index', { description: 'The place of the item in the input, from 0.' }),
    status: t.expose('status', { type: ItemStatus }),
    trade: t.field({ type: Trade, nullable: true, resolve: (result) => result.trade }),
    order: t.field({
      type: Order,
      nullable: true,
      description: 'Of a refused item the row it met.',
      resolve: (result) => result.order,
    }),
    position: t.field({ type: Position, nullable: true, resolve: (result) => result.position }),
    openedPosition: t.field({
      type: Position,
      nullable: true,
      description: 'The other side of a flip.',
      resolve: (result) => result.openedPosition,
    }),
    warnings: t.stringList({
      description:
        'What was left out, each beginning with its code: `STOP_DROPPED: …`, ' +
        '`COMMISSION_NOT_IN_QUOTE: …`.',
      resolve: ({ warnings }) => [...warnings],
    }),
    error: t.expose('error', { type: ItemError, nullable: true }),
  }),
});

const TradesPayload = builder.objectRef<Payload>('TradesPayload').implement({
  fields: (t) => ({
    results: t.field({
      type: [TradeResult],
      description: 'One an item, in input order.',
      resolve: ({ results }) => [...results],
    }),
    counts: t.expose('counts', { type: BatchCounts }),
  }),
});

const RecordTradeItem = builder.inputType('RecordTradeItem', {
  description:
    'A fill. Its natural key is its order with exchangeTradeId: the same item again is REPLAYED.',
  fields: (t) => ({
    orderId: t.id({ description: 'Or clientOrderId: one of the two.' }),
    clientOrderId: t.string(),
    exchangeTradeId: t.string({ required: true, description: '1 to 100 characters.' }),
    price: t.field({ type: 'Decimal', required: true, description: 'Above 0.' }),
    quantity: t.field({ type: 'Decimal', required: true, description: 'Above 0.' }),
    commission: t.field({ type: 'Decimal', defaultValue: '0', description: 'Below 0: a rebate.' }),
    commissionAsset: t.string({
      description:
        'Left out: the quote currency. In another asset it stands on the trade alone, with a ' +
        'warning.',
    }),
    executedAt: t.field({
      type: 'DateTime',
      required: true,
      description: '2015 to one hour ahead.',
    }),
    stopLossPrice: t.field({
      type: 'Decimal',
      description:
        'For the position after this fill; left out: the order’s, when it opens. One on the wrong ' +
        'side is dropped with a warning.',
    }),
    takeProfitPrice: t.field({ type: 'Decimal', description: 'Like stopLossPrice.' }),
  }),
});

const RecordTradesInput = builder.inputType('RecordTradesInput', {
  fields: (t) => ({
    ...batchFields(t),
    items: t.field({
      type: [RecordTradeItem],
      required: true,
      description: '1 to 1000, in the order they arrived: they are booked in it.',
    }),
  }),
});

builder.queryField('trades', (t) =>
  t.field({
    description: 'Trades that match, by the time of their execution, newest first.',
    type: TradeConnection,
    nullable: true,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: TradeWhere }),
      ...pageArguments(t.arg),
    },
    resolve: (_root, args, context) => trades(context, args),
  }),
);

builder.mutationField('recordTrades', (t) =>
  t.field({
    description:
      'Books fills: each is a trade, its order fills up, and its position is opened, added to, ' +
      'reduced, closed or, in a one-way account, flipped. Never refused for the trading state. Item ' +
      'statuses, the first that holds: REJECTED, NOT_FOUND, REPLAYED, CONFLICT, CREATED.',
    type: TradesPayload,
    args: { input: t.arg({ type: RecordTradesInput, required: true }) },
    resolve: (_root, { input }, context) => recordTrades(context, input),
  }),
);
