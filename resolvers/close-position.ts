import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { Decimal, toAmount } from '../datasources/decimal.ts';
import { uuidOf } from '../datasources/id.ts';
import type { Position } from '../datasources/position.ts';
import type { KnownTrade, NewTrade } from '../datasources/trade.ts';
import type { BatchMode } from '../datasources/unit-of-work.ts';
import { AppError } from '../errors.ts';
import {
  acceptedOf,
  assertAccepted,
  assertUnique,
  enterBatch,
  examine,
  hashItem,
  ItemRefusal,
  itemError,
  payload,
} from './batch.ts';
import { assertInstant, assertNotNegative, assertPositive, assertText, timeOf } from './check.ts';
import { bounded } from './fold.ts';
import {
  assertChangeable,
  lockNamed,
  type NamedBy,
  nameOf,
  type PositionName,
  type PositionResult,
  type PositionsPayload,
  textOf,
} from './position.ts';

export interface ClosePositionItem extends PositionName {
  readonly clientId?: string | null;
  readonly expectedVersion?: number | null;
  readonly price: string;
  readonly quantity?: string | null;
  readonly fees?: string | null;
  readonly reason?: string | null;
  readonly liquidated?: boolean | null;
  readonly closedAt?: string | null;
}

interface CheckedItem {
  readonly item: ClosePositionItem;
  readonly name: NamedBy;
  readonly clientId: string | null;
  readonly hash: string | null;
}

/** A close that may be written, with the trade that carries its profit. */
interface Close {
  readonly before: Position;
  readonly next: Position;
  readonly trade: NewTrade;
}

/**
 * Closes open positions, or a part of each when a quantity is given, and writes the trade that
 * realizes the profit: (price − entryPrice) · quantity, sign flipped for SHORT, fees apart.
 * One result per item, in input order; of two concurrent closes one wins, the other is CONFLICT.
 * Of several faults the first counts: REJECTED, REPLAYED, NOT_FOUND, CONFLICT, then UPDATED.
 *
 * @throws AppError BATCH_TOO_LARGE, BATCH_REJECTED, BAD_INPUT, FORBIDDEN
 */
export async function closePositions(
  context: Context,
  input: { account?: string | null; mode?: BatchMode | null; items: readonly ClosePositionItem[] },
): Promise<PositionsPayload> {
  const accountId = requireAccount(context.actor, input.account, 'positions:write');
  const { unit, mode } = enterBatch(context.unit, input.mode, input.items);
  const seen = new Set<string>();
  const checked = input.items.map((item) => examine(() => check(accountId, item, seen)));
  const valid = acceptedOf(checked);
  const find = await lockNamed(
    context,
    accountId,
    valid.map((one) => one.name),
  );
  const replays = await readReplays(context, accountId, valid);

  const closes: Close[] = [];
  const closed = new Set<string>();
  const results = checked.map((one, index): PositionResult => {
    if (one instanceof ItemRefusal) return refused(index, one, null);
    const replay = one.clientId === null ? undefined : replays.get(one.clientId);
    if (replay !== undefined) return replayed(index, one, replay);
    const current = find(one.name);
    const close = examine(() => {
      assertChangeable(current, one.item.expectedVersion);
      assertUnique(closed, current.id, ['id']);
      return closeOf(current, one, unit.at);
    });
    if (close instanceof ItemRefusal) return refused(index, close, current);
    closes.push(close);
    return { index, status: 'UPDATED', position: close.next, error: null };
  });
  assertAccepted(mode, results);
  if (closes.length > 0) {
    await context.datasources.positions.updateMany(accountId, closes);
    await context.datasources.trades.insertMany(
      accountId,
      closes.map((close) => close.trade),
    );
  }
  return payload(results);
}

function check(accountId: string, item: ClosePositionItem, seen: Set<string>): CheckedItem {
  const name = nameOf(accountId, item);
  assertUnique(seen, textOf(name), ['id']);
  assertPositive(item.price, ['price']);
  if (item.quantity) assertPositive(item.quantity, ['quantity']);
  assertNotNegative(item.fees ?? '0', ['fees']);
  assertText(item.reason, ['reason']);
  assertText(item.clientId, ['clientId'], 64);
  if (item.closedAt) assertInstant(item.closedAt, ['closedAt']);
  const clientId = item.clientId ?? null;
  assertUnique(seen, clientId === null ? null : `client ${clientId}`, ['clientId']);
  return { item, name, clientId, hash: clientId === null ? null : hashOf(item, name) };
}

function hashOf(item: ClosePositionItem, name: NamedBy): string {
  return hashItem({
    name: textOf(name),
    price: item.price,
    quantity: item.quantity ?? null,
    fees: item.fees ?? '0',
    reason: item.reason ?? null,
    liquidated: item.liquidated ?? false,
    closedAt: item.closedAt ?? null,
  });
}

interface Replay {
  readonly trade: KnownTrade;
  readonly position: Position | null;
}

/** What earlier items under the client ids of this batch closed. */
async function readReplays(
  context: Context,
  accountId: string,
  items: readonly CheckedItem[],
): Promise<ReadonlyMap<string, Replay>> {
  const clientIds = items.flatMap(({ clientId }) => (clientId === null ? [] : [clientId]));
  if (clientIds.length === 0) return new Map();
  const { positions, trades } = context.datasources;
  const known = await trades.findByClientIds(accountId, clientIds);
  if (known.length === 0) return new Map();
  const rows = await positions.findByIds(
    accountId,
    known.map((trade) => trade.positionId),
  );
  return new Map(
    known.map((trade, place) => [trade.clientId, { trade, position: rows[place] ?? null }]),
  );
}

function replayed(index: number, one: CheckedItem, { trade, position }: Replay): PositionResult {
  if (trade.itemHash === one.hash) return { index, status: 'REPLAYED', position, error: null };
  const message = `The clientId ${one.clientId} closed something else.`;
  return refused(
    index,
    new ItemRefusal('CONFLICT', 'CLIENT_ID_REUSED', message, ['clientId']),
    position,
  );
}

function closeOf(current: Position, { item, clientId, hash }: CheckedItem, at: string): Close {
  if (current.hasFills) {
    throw new ItemRefusal(
      'CONFLICT',
      'MANAGED_BY_FILLS',
      'Fills of orders move this position: close it by recording the fill.',
    );
  }
  const quantity = item.quantity ?? current.quantity;
  const rest = new Decimal(current.quantity).minus(quantity);
  if (rest.isNegative()) {
    throw bad(`${quantity} is more than the open quantity ${current.quantity}.`, ['quantity']);
  }
  const isLiquidated = item.liquidated ?? false;
  if (isLiquidated && !rest.isZero()) {
    throw bad('A liquidation closes all of a position.', ['liquidated']);
  }
  const closedAt = item.closedAt ?? at;
  if (closedAt < current.openedAt) {
    throw bad(`${closedAt} is before the position was opened.`, ['closedAt']);
  }
  const difference = new Decimal(item.price).minus(current.entryPrice).times(quantity);
  const realizedPnl = bounded(current.side === 'LONG' ? difference : difference.negated());
  const fees = item.fees ?? '0';
  const next: Position = {
    ...current,
    status: rest.isZero() ? (isLiquidated ? 'LIQUIDATED' : 'CLOSED') : 'OPEN',
    quantity: toAmount(rest),
    realizedPnl: bounded(new Decimal(current.realizedPnl).plus(realizedPnl)),
    fees: bounded(new Decimal(current.fees).plus(fees)),
    closeReason: rest.isZero() ? (item.reason ?? null) : current.closeReason,
    updatedAt: at,
    closedAt: rest.isZero() ? closedAt : null,
    version: current.version + 1,
  };
  const trade = closingTrade(next, item, { quantity, realizedPnl, fees, closedAt, clientId, hash });
  return { before: current, next, trade };
}

function closingTrade(
  position: Position,
  item: ClosePositionItem,
  part: {
    readonly quantity: string;
    readonly realizedPnl: string;
    readonly fees: string;
    readonly closedAt: string;
    readonly clientId: string | null;
    readonly hash: string | null;
  },
): NewTrade {
  return {
    accountId: position.accountId,
    id: uuidOf(timeOf(part.closedAt)),
    exchange: position.exchange,
    symbol: position.symbol,
    side: position.side === 'LONG' ? 'SELL' : 'BUY',
    price: item.price,
    quantity: part.quantity,
    commission: part.fees,
    commissionAsset: null,
    realizedPnl: part.realizedPnl,
    exchangeTradeId: null,
    strategy: position.strategy,
    executedAt: part.closedAt,
    orderId: null,
    positionId: position.id,
    openedPositionId: null,
    clientId: part.clientId,
    itemHash: part.hash,
  };
}

function bad(message: string, path: readonly string[]): AppError {
  return new AppError('BAD_INPUT', message, { path });
}

function refused(index: number, refusal: ItemRefusal, position: Position | null): PositionResult {
  return { index, status: refusal.status, position, error: itemError(index, refusal) };
}
