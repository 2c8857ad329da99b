import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import type { Account } from '../datasources/account.ts';
import { uuidOf } from '../datasources/id.ts';
import type { NewPosition, Position, PositionSide } from '../datasources/position.ts';
import type { NewTrade } from '../datasources/trade.ts';
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
import {
  assertExchange,
  assertInstant,
  assertJson,
  assertLeverage,
  assertPositive,
  assertSymbol,
  assertText,
  timeOf,
} from './check.ts';
import { instrumentOf, type PositionResult, type PositionsPayload, readMarks } from './position.ts';
import { assertStops } from './stop.ts';

export interface OpenPositionItem {
  readonly clientId?: string | null;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: PositionSide;
  readonly quantity: string;
  readonly entryPrice: string;
  readonly stopLossPrice?: string | null;
  readonly takeProfitPrice?: string | null;
  readonly leverage?: string | null;
  readonly strategy?: string | null;
  readonly metadata?: unknown;
  readonly openedAt?: string | null;
}

/**
 * Opens positions and writes the trade of each. One result per item, in input order. An item whose
 * clientId was used before is REPLAYED when it is the same, CONFLICT when it differs.
 * Of several faults the first counts: REJECTED, REPLAYED, CONFLICT, then CREATED.
 *
 * @throws AppError BATCH_TOO_LARGE, BATCH_REJECTED, BAD_INPUT, FORBIDDEN, NOT_FOUND (the account)
 */
export async function openPositions(
  context: Context,
  input: { account?: string | null; mode?: BatchMode | null; items: readonly OpenPositionItem[] },
): Promise<PositionsPayload> {
  const accountId = requireAccount(context.actor, input.account, 'positions:write');
  const { unit, mode } = enterBatch(context.unit, input.mode, input.items);
  const { positions } = context.datasources;
  const account = await context.datasources.accounts.get(accountId);
  const seen = new Set<string>();
  const checked = input.items.map((item) =>
    examine(() => newPosition(account, item, unit.at, seen)),
  );
  const valid = acceptedOf(checked);
  const held =
    valid.length === 0 ? EMPTY : await readHeld(context, accountId, account.hedgeMode, valid);

  const results: PositionResult[] = checked.map((one, index) =>
    one instanceof ItemRefusal ? refused(index, one, null) : decide(index, one, account, held),
  );
  assertAccepted(mode, results);
  const created = results.flatMap(({ status, index }) => {
    const one = checked[index];
    return status === 'CREATED' && one && !(one instanceof ItemRefusal) ? [one] : [];
  });
  if (created.length > 0) {
    unit.expectTradingState(accountId, account.tradingState);
    const inserted = await positions.insertMany(accountId, created);
    // The instruments are locked; only a client id of a unit that committed since the look can be
    // in the way, and then this unit runs again and finds its row.
    if (inserted.size !== created.length) {
      throw new AppError('SERIALIZATION_FAILURE', 'Another request used one of the client ids.');
    }
    await context.datasources.trades.insertMany(accountId, created.map(openingTrade));
  }
  return payload(results);
}

function newPosition(
  account: Account,
  item: OpenPositionItem,
  at: string,
  seen: Set<string>,
): NewPosition {
  const { exchange, symbol, side, quantity, entryPrice } = item;
  assertExchange(exchange);
  assertSymbol(symbol);
  assertPositive(quantity, ['quantity']);
  assertPositive(entryPrice, ['entryPrice']);
  const leverage = item.leverage ?? '1';
  assertLeverage(leverage);
  assertText(item.strategy, ['strategy']);
  assertText(item.clientId, ['clientId'], 64);
  assertJson(item.metadata, ['metadata']);
  const openedAt = item.openedAt ?? at;
  assertInstant(openedAt, ['openedAt']);
  const clientId = item.clientId ?? null;
  assertUnique(seen, clientId === null ? null : `client ${clientId}`, ['clientId']);
  assertUnique(seen, `${exchange} ${symbol}${account.hedgeMode ? ` ${side}` : ''}`, ['symbol']);
  const content = {
    exchange,
    symbol,
    side,
    quantity,
    entryPrice,
    stopLossPrice: item.stopLossPrice ?? null,
    takeProfitPrice: item.takeProfitPrice ?? null,
    leverage,
    strategy: item.strategy ?? null,
    metadata: item.metadata ?? null,
  };
  return {
    accountId: account.id,
    id: uuidOf(timeOf(openedAt)),
    ...content,
    status: 'OPEN',
    realizedPnl: '0',
    fees: '0',
    closeReason: null,
    stopTriggeredAt: null,
    stopTriggeredKind: null,
    openedAt,
    updatedAt: at,
    closedAt: null,
    version: 1,
    hasFills: false,
    clientId,
    itemHash: clientId === null ? null : hashItem({ ...content, openedAt: item.openedAt ?? null }),
  };
}

interface Held {
  /** By client id. */
  readonly known: ReadonlyMap<string, NewPosition>;
  /** Open rows by instrument, and by instrument and side. */
  readonly open: ReadonlyMap<string, NewPosition>;
  readonly marks: ReadonlyMap<string, string>;
}

const EMPTY: Held = { known: new Map(), open: new Map(), marks: new Map() };

async function readHeld(
  context: Context,
  accountId: string,
  isHedged: boolean,
  items: readonly NewPosition[],
): Promise<Held> {
  const { positions } = context.datasources;
  await positions.lockInstruments(accountId, items);
  const clientIds = items.flatMap(({ clientId }) => (clientId === null ? [] : [clientId]));
  const rows = await positions.findForOpening(accountId, items, clientIds);
  const isStopped = items.filter((item) => item.stopLossPrice ?? item.takeProfitPrice);
  const known = new Map<string, NewPosition>();
  const open = new Map<string, NewPosition>();
  for (const row of rows) {
    if (row.clientId !== null) known.set(row.clientId, row);
    if (row.status === 'OPEN') open.set(openKey(row, isHedged), row);
  }
  return { known, open, marks: await readMarks(context, accountId, isStopped) };
}

function openKey(row: Position, isHedged: boolean): string {
  return isHedged ? `${instrumentOf(row)} ${row.side}` : instrumentOf(row);
}

function decide(index: number, item: NewPosition, account: Account, held: Held): PositionResult {
  const known = item.clientId === null ? undefined : held.known.get(item.clientId);
  if (known !== undefined) {
    if (known.itemHash === item.itemHash) {
      return { index, status: 'REPLAYED', position: known, error: null };
    }
    const message = `The clientId ${item.clientId} opened another position.`;
    const refusal = new ItemRefusal('CONFLICT', 'CLIENT_ID_REUSED', message, ['clientId']);
    return refused(index, refusal, known);
  }
  if (account.tradingState !== 'ACTIVE') {
    const code = account.tradingState === 'HALTED' ? 'TRADING_HALTED' : 'TRADING_REDUCING';
    const message = `The account is ${account.tradingState}: it opens no positions.`;
    return refused(index, new ItemRefusal('REJECTED', code, message), null);
  }
  const stops = examine(() =>
    assertStops(item.side, item, held.marks.get(instrumentOf(item)) ?? item.entryPrice),
  );
  if (stops instanceof ItemRefusal) return refused(index, stops, null);
  const open = held.open.get(openKey(item, account.hedgeMode));
  if (open !== undefined) {
    const message = `A ${open.side} position of ${open.symbol} is open already.`;
    return refused(index, new ItemRefusal('CONFLICT', 'POSITION_EXISTS', message), open);
  }
  return { index, status: 'CREATED', position: item, error: null };
}

function refused(index: number, refusal: ItemRefusal, position: Position | null): PositionResult {
  return { index, status: refusal.status, position, error: itemError(index, refusal) };
}

function openingTrade(position: NewPosition): NewTrade {
  return {
    accountId: position.accountId,
    id: uuidOf(timeOf(position.openedAt)),
    exchange: position.exchange,
    symbol: position.symbol,
    side: position.side === 'LONG' ? 'BUY' : 'SELL',
    price: position.entryPrice,
    quantity: position.quantity,
    commission: '0',
    commissionAsset: null,
    realizedPnl: '0',
    exchangeTradeId: null,
    strategy: position.strategy,
    executedAt: position.openedAt,
    orderId: null,
    positionId: position.id,
    openedPositionId: null,
    clientId: null,
    itemHash: null,
  };
}
