import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { FillableOrder, Order } from '../datasources/order.ts';
import type { Position } from '../datasources/position.ts';
import type { Trade } from '../datasources/trade.ts';
import type { BatchMode } from '../datasources/unit-of-work.ts';
import {
  acceptedOf,
  assertAccepted,
  type BatchPayload,
  enterBatch,
  examine,
  hashItem,
  ItemRefusal,
  type ItemResult,
  itemError,
  payload,
} from './batch.ts';
import { assertInstant, assertPositive, assertText, timeOf } from './check.ts';
import { createLedger, type Ledger } from './ledger.ts';
import {
  idsInOrder,
  indexByName,
  type OrderName,
  orderNameOf,
  orderNotFound,
  splitNames,
} from './order.ts';
import { instrumentOf, isGiven, readMarks } from './position.ts';

const EXCHANGE_TRADE_ID_LENGTH_MAX = 100;
const ASSET_LENGTH_MAX = 32;
const NO_MARKS: ReadonlyMap<string, string> = new Map();

export interface RecordTradeItem {
  readonly orderId?: string | null;
  readonly clientOrderId?: string | null;
  readonly exchangeTradeId: string;
  readonly price: string;
  readonly quantity: string;
  readonly commission?: string | null;
  readonly commissionAsset?: string | null;
  readonly executedAt: string;
  readonly stopLossPrice?: string | null;
  readonly takeProfitPrice?: string | null;
}

/** An item that is right by itself. */
export interface CheckedFill {
  readonly name: OrderName;
  readonly exchangeTradeId: string;
  readonly price: string;
  readonly quantity: string;
  readonly commission: string;
  readonly commissionAsset: string | null;
  readonly executedAt: string;
  readonly stopLossPrice: string | null;
  readonly takeProfitPrice: string | null;
  readonly hash: string;
}

export interface TradeResult extends ItemResult {
  readonly trade: Trade | null;
  readonly order: Order | null;
  readonly position: Position | null;
  readonly openedPosition: Position | null;
  readonly warnings: readonly string[];
}

export type TradesPayload = BatchPayload<TradeResult>;

/**
 * Books fills: each is a trade, and its order and position follow, in the order of the items. One
 * result per item; its rows are those that the batch leaves behind. A fill that was booked before is
 * REPLAYED when it is the same, CONFLICT when it differs. Whatever the trading state: it happened.
 * Of several faults the first counts: REJECTED, NOT_FOUND (the order), REPLAYED, CONFLICT, CREATED.
 *
 * @throws AppError BATCH_TOO_LARGE, BATCH_REJECTED, BAD_INPUT, FORBIDDEN
 */
export async function recordTrades(
  context: Context,
  input: { account?: string | null; mode?: BatchMode | null; items: readonly RecordTradeItem[] },
): Promise<TradesPayload> {
  const accountId = requireAccount(context.actor, input.account, 'trades:write');
  const { unit, mode } = enterBatch(context.unit, input.mode, input.items);
  const checked = input.items.map((item) => examine(() => check(accountId, item)));
  const { find, ledger } = await openLedger(context, accountId, acceptedOf(checked), unit.at);
  const ids = idsInOrder(
    checked.map((one) => (one instanceof ItemRefusal ? 0 : timeOf(one.executedAt))),
  );
  const booked = checked.map((one, index) =>
    examine(() => {
      if (one instanceof ItemRefusal) throw one;
      const order = find(one.name);
      if (order === null) throw orderNotFound();
      return ledger.book(order, one, ids[index] ?? '');
    }),
  );
  const results = booked.map((one, index): TradeResult => {
    if (!(one instanceof ItemRefusal)) return { index, error: null, ...ledger.resultOf(one) };
    const fill = checked[index];
    const order = fill === undefined || fill instanceof ItemRefusal ? null : find(fill.name);
    return {
      index,
      status: one.status,
      trade: null,
      order: order === null ? null : ledger.orderOf(order.order),
      position: null,
      openedPosition: null,
      warnings: [],
      error: itemError(index, one),
    };
  });
  assertAccepted(mode, results);
  const rows = ledger.rows();
  if (rows.trades.length > 0) await context.datasources.fills.write(accountId, rows);
  return payload(results);
}

function check(accountId: string, item: RecordTradeItem): CheckedFill {
  const name = orderNameOf(accountId, item.orderId, item.clientOrderId, 'orderId');
  assertText(item.exchangeTradeId, ['exchangeTradeId'], EXCHANGE_TRADE_ID_LENGTH_MAX);
  assertPositive(item.price, ['price']);
  assertPositive(item.quantity, ['quantity']);
  assertText(item.commissionAsset, ['commissionAsset'], ASSET_LENGTH_MAX);
  assertInstant(item.executedAt, ['executedAt']);
  const content = {
    exchangeTradeId: item.exchangeTradeId,
    price: item.price,
    quantity: item.quantity,
    // Below 0 it is a rebate.
    commission: item.commission ?? '0',
    commissionAsset: item.commissionAsset ?? null,
    executedAt: item.executedAt,
    stopLossPrice: item.stopLossPrice ?? null,
    takeProfitPrice: item.takeProfitPrice ?? null,
  };
  return { name, ...content, hash: hashItem(content) };
}

interface OpenedLedger {
  readonly find: (name: OrderName) => FillableOrder | null;
  readonly ledger: Ledger;
}

/**
 * Locks what the fills move: orders and their instruments, then the open positions. Only then are
 * they and the fills booked before read, so that what was committed meanwhile is seen.
 */
async function openLedger(
  context: Context,
  accountId: string,
  fills: readonly CheckedFill[],
  at: string,
): Promise<OpenedLedger> {
  const { orders, positions, trades } = context.datasources;
  const { ids, clientOrderIds } = splitNames(fills.map((fill) => fill.name));
  const rows = await orders.lockForFills(accountId, ids, clientOrderIds);
  const find = indexByName(rows, ({ order }) => order);
  const instruments = [...new Map(rows.map(({ order }) => [instrumentOf(order), order])).values()];
  if (rows.length === 0) {
    return { find, ledger: createLedger({ at, known: [], positions: [], marks: NO_MARKS }) };
  }
  const hasStops = [...fills, ...rows.map(({ order }) => order)].some((one) =>
    isGiven(one.stopLossPrice ?? one.takeProfitPrice),
  );
  const [open, marks] = await Promise.all([
    positions.lockOpen(accountId, instruments),
    // Behind the locks, without a round trip: stops are often moved by the field after the fills.
    hasStops || context.fields > 1 ? readMarks(context, accountId, instruments) : NO_MARKS,
  ]);
  const keys = fills.flatMap((fill) => {
    const order = find(fill.name)?.order;
    // An order without fills has no fill that could be repeated.
    if (order === undefined || order.filledQuantity === '0') return [];
    return [{ orderId: order.id, exchangeTradeId: fill.exchangeTradeId }];
  });
  const known = keys.length === 0 ? [] : await trades.findByFillKeys(accountId, keys);
  const others = await readOthers(context, accountId, known, open);
  return { find, ledger: createLedger({ at, known, positions: [...others, ...open], marks }) };
}

/** The positions of fills that were booked before, where they are not open any more. */
async function readOthers(
  context: Context,
  accountId: string,
  known: readonly Trade[],
  open: readonly Position[],
): Promise<readonly Position[]> {
  const held = new Set(open.map((position) => position.id));
  const ids = known
    .flatMap(({ positionId, openedPositionId }) => [positionId, openedPositionId])
    .filter(isGiven)
    .filter((id) => !held.has(id));
  if (ids.length === 0) return [];
  const rows = await context.datasources.positions.findByIds(accountId, [...new Set(ids)]);
  return rows.filter((row) => row !== null);
}
