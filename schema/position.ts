import { dataloaderGetter } from '@pothos/plugin-dataloader';
import type { Context } from '../context.ts';
import { encodeId } from '../datasources/id.ts';
import type { MarkedPosition } from '../datasources/mark.ts';
import type { Position as PositionRecord } from '../datasources/position.ts';
import type {
  PositionResult as PositionResultRecord,
  PositionsPayload as Payload,
} from '../resolvers/position.ts';
import { closePositions } from '../resolvers/close-position.ts';
import { openPositions } from '../resolvers/open-position.ts';
import { positions, unrealizedPnl, updatePositions } from '../resolvers/position.ts';
import { Account } from './account.ts';
import { BatchCounts, batchFields, ItemError } from './batch.ts';
import { builder, LOADER_BATCH_MAX } from './builder.ts';
import { ItemStatus, PositionSide, PositionStatus, StopKind } from './enums.ts';
import { Node } from './node.ts';
import { pageArguments, pageType } from './page.ts';
import { TimeRange } from './time-range.ts';

/** The newest price of an instrument, by `account exchange symbol`; one statement an account. */
const markLoader = dataloaderGetter<string, string | null, string>(
  { maxBatchSize: LOADER_BATCH_MAX },
  (keys, context: object) => loadMarks(keys, context as Context),
  undefined,
  false,
);

async function loadMarks(keys: readonly string[], context: Context): Promise<(string | null)[]> {
  const found = new Map<string, string>();
  const byAccount = Map.groupBy(
    keys.map((key) => key.split(' ')),
    ([accountId = '']) => accountId,
  );
  for (const [accountId, group] of byAccount) {
    const instruments = group.map(([, exchange = '', symbol = '']) => ({ exchange, symbol }));
    const marks = await context.datasources.marks.find(accountId, instruments);
    for (const mark of marks) {
      found.set(`${accountId} ${mark.exchange} ${mark.symbol}`, mark.price);
    }
  }
  return keys.map((key) => found.get(key) ?? null);
}

type Shown = PositionRecord | MarkedPosition;

function markOf(position: Shown, context: Context): Promise<string | null> | string | null {
  if ('markPrice' in position) return position.markPrice;
  const { accountId, exchange, symbol } = position;
  return markLoader(context).load(`${accountId} ${exchange} ${symbol}`);
}

export const Position = builder.objectRef<Shown>('Position');

Position.implement({
  description: 'An exposure: what is open, at which price, and what it has brought.',
  interfaces: [Node],
  fields: (t) => ({
    id: t.id({ resolve: ({ accountId, id }) => encodeId('position', accountId, id) }),
    account: t.field({ type: Account, resolve: (position) => position.accountId }),
    exchange: t.exposeString('exchange'),
    symbol: t.exposeString('symbol'),
    side: t.expose('side', { type: PositionSide }),
    status: t.expose('status', { type: PositionStatus }),
    quantity: t.expose('quantity', {
      type: 'Decimal',
      description: 'What is still open, in base currency: 0 once closed.',
    }),
    entryPrice: t.expose('entryPrice', { type: 'Decimal', description: 'Weighted average.' }),
    markPrice: t.field({
      type: 'Decimal',
      nullable: true,
      description:
        'The newest price the account was told, as of this read; in an event of a mark the ' +
        'price of that mark. Null: none yet.',
      resolve: (position, _args, context) => markOf(position, context),
    }),
    stopLossPrice: t.expose('stopLossPrice', { type: 'Decimal', nullable: true }),
    takeProfitPrice: t.expose('takeProfitPrice', { type: 'Decimal', nullable: true }),
    leverage: t.expose('leverage', { type: 'Decimal' }),
    realizedPnl: t.expose('realizedPnl', {
      type: 'Decimal',
      description:
        'In quote currency, fees apart: the sum of (exit − entry) · quantity of its closes, sign ' +
        'flipped for SHORT.',
    }),
    unrealizedPnl: t.field({
      type: 'Decimal',
      description:
        '(mark − entry) · quantity, sign flipped for SHORT, rounded half-even to 18 digits; 0 ' +
        'when closed or without a mark.',
      resolve: async (position, _args, context) =>
        unrealizedPnl(
          position,
          position.status === 'OPEN' ? await markOf(position, context) : null,
        ),
    }),
    fees: t.expose('fees', { type: 'Decimal', description: 'In quote currency.' }),
    strategy: t.exposeString('strategy', { nullable: true }),
    closeReason: t.exposeString('closeReason', { nullable: true }),
    stopTriggeredAt: t.expose('stopTriggeredAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When a mark first crossed a stop; null again once that stop is changed.',
    }),
    stopTriggeredKind: t.expose('stopTriggeredKind', { type: StopKind, nullable: true }),
    metadata: t.expose('metadata', { type: 'JSON', nullable: true }),
    openedAt: t.expose('openedAt', { type: 'DateTime' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime' }),
    closedAt: t.expose('closedAt', { type: 'DateTime', nullable: true }),
    version: t.exposeInt('version', {
      description: 'Counts the changes of this row; give it as expectedVersion.',
    }),
  }),
});

const PositionConnection = pageType<PositionRecord>('Position', Position);

export const PositionWhere = builder.inputType('PositionWhere', {
  description: 'All of the given must hold. Indexed: ids, symbols, status OPEN, openedAt.',
  fields: (t) => ({
    ids: t.idList(),
    exchange: t.string(),
    symbols: t.stringList(),
    status: t.field({ type: [PositionStatus] }),
    side: t.field({ type: PositionSide }),
    strategy: t.string(),
    openedAt: t.field({ type: TimeRange }),
  }),
});

const PositionResult = builder.objectRef<PositionResultRecord>('PositionResult').implement({
  description: 'What became of one item.',
  fields: (t) => ({
    index: t.exposeInt('index', { description: 'The place of the item in the input, from 0.' }),
    status: t.expose('status', { type: ItemStatus }),
    position: t.field({
      type: Position,
      nullable: true,
      description: 'The row after this item; of a refused item the row it met.',
      resolve: (result) => result.position,
    }),
    error: t.expose('error', { type: ItemError, nullable: true }),
  }),
});

const PositionsPayload = builder.objectRef<Payload>('PositionsPayload').implement({
  fields: (t) => ({
    results: t.field({
      type: [PositionResult],
      description: 'One an item, in input order.',
      resolve: ({ results }) => [...results],
    }),
    counts: t.expose('counts', { type: BatchCounts }),
  }),
});

const OpenPositionItem = builder.inputType('OpenPositionItem', {
  fields: (t) => ({
    clientId: t.string({ description: 'Makes the item repeatable; unique per account.' }),
    exchange: t.string({ required: true, description: 'Lower case: `bybit`.' }),
    symbol: t.string({ required: true, description: 'Upper case: `BTCUSDT`.' }),
    side: t.field({ type: PositionSide, required: true }),
    quantity: t.field({ type: 'Decimal', required: true, description: 'Above 0.' }),
    entryPrice: t.field({ type: 'Decimal', required: true, description: 'Above 0.' }),
    stopLossPrice: t.field({
      type: 'Decimal',
      description: 'LONG: below the mark, else the entry; SHORT: above it.',
    }),
    takeProfitPrice: t.field({
      type: 'Decimal',
      description: 'LONG: above the mark, else the entry; SHORT: below it.',
    }),
    leverage: t.field({ type: 'Decimal', defaultValue: '1', description: 'Above 0, up to 1000.' }),
    strategy: t.string(),
    metadata: t.field({ type: 'JSON', description: 'Up to 16 KiB.' }),
    openedAt: t.field({
      type: 'DateTime',
      description: '2015 to one hour ahead; left out: the instant of the request.',
    }),
  }),
});

const OpenPositionsInput = builder.inputType('OpenPositionsInput', {
  fields: (t) => ({
    ...batchFields(t),
    items: t.field({ type: [OpenPositionItem], required: true, description: '1 to 1000.' }),
  }),
});

const UpdatePositionItem = builder.inputType('UpdatePositionItem', {
  description:
    'Names a position by id, or the open one by exchange, symbol and side. An absent field is left ' +
    'alone, null clears it.',
  fields: (t) => ({
    id: t.id(),
    exchange: t.string(),
    symbol: t.string(),
    side: t.field({ type: PositionSide }),
    expectedVersion: t.int({ description: 'CONFLICT unless the row is at this version.' }),
    stopLossPrice: t.field({ type: 'Decimal' }),
    takeProfitPrice: t.field({ type: 'Decimal' }),
    leverage: t.field({ type: 'Decimal' }),
    metadata: t.field({ type: 'JSON' }),
  }),
});

const UpdatePositionsInput = builder.inputType('UpdatePositionsInput', {
  fields: (t) => ({
    ...batchFields(t),
    items: t.field({ type: [UpdatePositionItem], required: true, description: '1 to 1000.' }),
  }),
});

const ClosePositionItem = builder.inputType('ClosePositionItem', {
  description: 'Names a position by id, or the open one by exchange, symbol and side.',
  fields: (t) => ({
    clientId: t.string({ description: 'Makes the item repeatable; unique per account.' }),
    id: t.id(),
    exchange: t.string(),
    symbol: t.string(),
    side: t.field({ type: PositionSide }),
    expectedVersion: t.int({ description: 'CONFLICT unless the row is at this version.' }),
    price: t.field({ type: 'Decimal', required: true, description: 'Of the exit; above 0.' }),
    quantity: t.field({ type: 'Decimal', description: 'Left out: all of it.' }),
    fees: t.field({ type: 'Decimal', defaultValue: '0', description: 'In quote currency.' }),
    reason: t.string(),
    liquidated: t.boolean({ defaultValue: false }),
    closedAt: t.field({
      type: 'DateTime',
      description: 'From openedAt to one hour ahead; left out: the instant of the request.',
    }),
  }),
});

const ClosePositionsInput = builder.inputType('ClosePositionsInput', {
  fields: (t) => ({
    ...batchFields(t),
    items: t.field({ type: [ClosePositionItem], required: true, description: '1 to 1000.' }),
  }),
});

builder.queryField('positions', (t) =>
  t.field({
    description: 'Positions that match, by the time they were opened, newest first.',
    type: PositionConnection,
    nullable: true,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: PositionWhere }),
      ...pageArguments(t.arg),
    },
    resolve: (_root, args, context) => positions(context, args),
  }),
);

builder.mutationFields((t) => ({
  openPositions: t.field({
    description:
      'Opens positions and writes the trade of each. Item statuses, the first that holds: ' +
      'REJECTED, REPLAYED, CONFLICT, CREATED.',
    type: PositionsPayload,
    args: { input: t.arg({ type: OpenPositionsInput, required: true }) },
    resolve: (_root, { input }, context) => openPositions(context, input),
  }),
  updatePositions: t.field({
    description:
      'Changes stops, leverage and metadata of open positions. Item statuses, the first that ' +
      'holds: REJECTED, NOT_FOUND, CONFLICT, UNCHANGED, UPDATED.',
    type: PositionsPayload,
    args: { input: t.arg({ type: UpdatePositionsInput, required: true }) },
    resolve: (_root, { input }, context) => updatePositions(context, input),
  }),
  closePositions: t.field({
    description:
      'Closes open positions, or parts of them, and writes the trade that realizes the profit. Of ' +
      'two concurrent closes one wins. Item statuses, the first that holds: REJECTED, REPLAYED, ' +
      'NOT_FOUND, CONFLICT, UPDATED.',
    type: PositionsPayload,
    args: { input: t.arg({ type: ClosePositionsInput, required: true }) },
    resolve: (_root, { input }, context) => closePositions(context, input),
  }),
}));
