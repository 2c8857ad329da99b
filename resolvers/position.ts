import type { BatchMode } from '../datasources/unit-of-work.ts';
import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { Decimal, toAmount } from '../datasources/decimal.ts';
import { requireId } from '../datasources/id.ts';
import type {
  Position,
  PositionKey,
  PositionSide,
  PositionWhere,
} from '../datasources/position.ts';
import { toPositionWhere } from '../datasources/row-where.ts';
import { AppError } from '../errors.ts';
import {
  acceptedOf,
  assertAccepted,
  assertUnique,
  type BatchPayload,
  enterBatch,
  examine,
  type ItemResult,
  ItemRefusal,
  itemError,
  payload,
} from './batch.ts';
import { assertExchange, assertJson, assertLeverage, assertSymbol } from './check.ts';
import { type Page, type PageArguments, readPage } from './page.ts';
import { armed, assertStops } from './stop.ts';
import { canonicalJson } from '../datasources/canonical.ts';

export interface PositionResult extends ItemResult {
  readonly position: Position | null;
}

export type PositionsPayload = BatchPayload<PositionResult>;

/** Positions that match, newest opened first unless sorted otherwise. */
export async function positions(
  context: Context,
  input: PageArguments & { account?: string | null; where?: PositionWhere | null },
): Promise<Page<Position>> {
  const accountId = requireAccount(context.actor, input.account, 'positions:read');
  const where = toPositionWhere(accountId, input.where);
  const { positions: rows } = context.datasources;
  return readPage(input, { kind: 'position', accountId, where, rows });
}

export interface PositionName {
  readonly id?: string | null;
  readonly exchange?: string | null;
  readonly symbol?: string | null;
  readonly side?: PositionSide | null;
}

export type NamedBy = { readonly id: string } | { readonly key: PositionKey };

/** How an item names its position: by id, or the open one by exchange, symbol and side. */
export function nameOf(accountId: string, item: PositionName): NamedBy {
  const { id, exchange, symbol, side } = item;
  const hasKeyPart = Boolean(exchange || symbol || side);
  if (id && !hasKeyPart) return { id: requireId(id, 'position', accountId, ['id']) };
  if (!id && exchange && symbol && side) {
    assertExchange(exchange);
    assertSymbol(symbol);
    return { key: { exchange, symbol, side } };
  }
  throw new AppError(
    'BAD_INPUT',
    'Name the position by id, or by exchange, symbol and side: one of the two.',
    { path: ['id'] },
  );
}

export function textOf(name: NamedBy): string {
  return 'id' in name ? name.id : `${name.key.exchange} ${name.key.symbol} ${name.key.side}`;
}

/** Locks the positions that a batch names; each is then found by its name. */
export async function lockNamed(
  context: Context,
  accountId: string,
  names: readonly NamedBy[],
): Promise<(name: NamedBy) => Position | null> {
  const { positions } = context.datasources;
  const keys = names.flatMap((name) => ('key' in name ? [name.key] : []));
  const ids = names.flatMap((name) => ('id' in name ? [name.id] : []));
  const byName = new Map<string, Position>();
  const add = (rows: readonly Position[]) => {
    for (const row of rows) {
      byName.set(row.id, row);
      if (row.status === 'OPEN') byName.set(textOf({ key: row }), row);
    }
  };
  add(await positions.lock(accountId, ids, keys));
  // A statement that waited for a row which was closed does not see one that was opened meanwhile.
  const missing = keys.filter((key) => !byName.has(textOf({ key })));
  if (missing.length > 0) add(await positions.lock(accountId, [], missing));
  return (name) => byName.get(textOf(name)) ?? null;
}

/**
 * The row that a change needs: there, open, and of the version its writer saw.
 *
 * @throws ItemRefusal NOT_FOUND or CONFLICT
 */
export function assertChangeable(
  current: Position | null,
  expectedVersion: number | null | undefined,
): asserts current is Position {
  if (current === null) {
    throw new ItemRefusal('NOT_FOUND', 'NOT_FOUND', 'There is no such position.', []);
  }
  if (current.status !== 'OPEN') {
    throw new ItemRefusal('CONFLICT', 'POSITION_NOT_OPEN', `The position is ${current.status}.`);
  }
  if (isGiven(expectedVersion) && expectedVersion !== current.version) {
    throw new ItemRefusal(
      'CONFLICT',
      'VERSION_CONFLICT',
      `The position is at version ${current.version}, not ${expectedVersion}.`,
      ['expectedVersion'],
    );
  }
}

export interface UpdatePositionItem extends PositionName {
  readonly expectedVersion?: number | null;
  readonly stopLossPrice?: string | null;
  readonly takeProfitPrice?: string | null;
  readonly leverage?: string | null;
  readonly metadata?: unknown;
}

/** An item that may be written, or why it may not; `current` is the row it met. */
interface Decision {
  readonly index: number;
  readonly current: Position | null;
  readonly next: Position | null;
  readonly refusal: ItemRefusal | null;
}

/**
 * Changes stops, leverage and metadata of open positions: an absent field is left alone, null
 * clears it. One result per item, in input order; a refused one has the row as it is.
 * Of several faults the first counts: REJECTED, NOT_FOUND, CONFLICT; then UNCHANGED, UPDATED.
 *
 * @throws AppError BATCH_TOO_LARGE, BATCH_REJECTED, BAD_INPUT, FORBIDDEN
 */
export async function updatePositions(
  context: Context,
  input: {
    account?: string | null;
    mode?: BatchMode | null;
    items: readonly UpdatePositionItem[];
  },
): Promise<PositionsPayload> {
  const accountId = requireAccount(context.actor, input.account, 'positions:write');
  const { unit, mode } = enterBatch(context.unit, input.mode, input.items);
  const seen = new Set<string>();
  const names = input.items.map((item) => examine(() => nameUpdate(accountId, item, seen)));
  const accepted = acceptedOf(names);
  const find = await lockNamed(context, accountId, accepted);
  const hasStops = input.items.some((item) => isGiven(item.stopLossPrice ?? item.takeProfitPrice));
  const marks = hasStops ? await readMarks(context, accountId, accepted.map(find)) : new Map();

  const changed = new Set<string>();
  const decisions = input.items.map((item, index): Decision => {
    const name = names[index];
    if (name === undefined || name instanceof ItemRefusal) {
      return { index, current: null, next: null, refusal: name ?? null };
    }
    const current = find(name);
    const next = examine(() => {
      assertChangeable(current, item.expectedVersion);
      // One row may be named by its id and by its key.
      assertUnique(changed, current.id, ['id']);
      return nextState(current, item, marks.get(instrumentOf(current)), unit.at);
    });
    return next instanceof ItemRefusal
      ? { index, current, next: null, refusal: next }
      : { index, current, next, refusal: null };
  });
  const results = decisions.map(toResult);
  assertAccepted(mode, results);
  const updates = decisions.flatMap(({ current, next }) =>
    current === null || next === null || next === current ? [] : [{ before: current, next }],
  );
  if (updates.length > 0) await context.datasources.positions.updateMany(accountId, updates);
  return payload(results);
}

function nameUpdate(accountId: string, item: UpdatePositionItem, seen: Set<string>): NamedBy {
  const name = nameOf(accountId, item);
  assertUnique(seen, textOf(name), ['id']);
  if (item.leverage === null) {
    throw new AppError('BAD_INPUT', 'A leverage cannot be cleared.', { path: ['leverage'] });
  }
  if (item.leverage !== undefined) assertLeverage(item.leverage);
  assertJson(item.metadata, ['metadata']);
  return name;
}

/** The row with the item's changes, or the same object where nothing differs. */
function nextState(
  current: Position,
  item: UpdatePositionItem,
  mark: string | undefined,
  at: string,
): Position {
  const stops = {
    stopLossPrice: chosen(item.stopLossPrice, current.stopLossPrice),
    takeProfitPrice: chosen(item.takeProfitPrice, current.takeProfitPrice),
  };
  const given = {
    // A stop that is left alone may have been crossed since; it is not this item's fault.
    stopLossPrice: item.stopLossPrice ?? null,
    takeProfitPrice: item.takeProfitPrice ?? null,
  };
  assertStops(current.side, given, mark ?? current.entryPrice);
  const leverage = item.leverage ?? current.leverage;
  const metadata = item.metadata === undefined ? current.metadata : item.metadata;
  if (
    stops.stopLossPrice === current.stopLossPrice &&
    stops.takeProfitPrice === current.takeProfitPrice &&
    leverage === current.leverage &&
    canonicalJson(metadata) === canonicalJson(current.metadata)
  ) {
    return current;
  }
  return {
    ...armed(current, stops),
    leverage,
    metadata,
    updatedAt: at,
    version: current.version + 1,
  };
}

function toResult({ index, current, next, refusal }: Decision): PositionResult {
  if (refusal !== null) {
    return {
      index,
      status: refusal.status,
      position: current,
      error: itemError(index, refusal),
    };
  }
  return {
    index,
    status: next === current ? 'UNCHANGED' : 'UPDATED',
    position: next,
    error: null,
  };
}

/** The mark of each instrument of these rows that has one. */
export async function readMarks(
  context: Context,
  accountId: string,
  rows: readonly (Instrument | null)[],
): Promise<ReadonlyMap<string, string>> {
  const instruments = new Map<string, Instrument>();
  for (const row of rows) if (row !== null) instruments.set(instrumentOf(row), row);
  if (instruments.size === 0) return new Map();
  const marks = await context.datasources.marks.find(accountId, [...instruments.values()]);
  return new Map(marks.map((mark) => [instrumentOf(mark), mark.price]));
}

export interface Instrument {
  readonly exchange: string;
  readonly symbol: string;
}

export function instrumentOf({ exchange, symbol }: Instrument): string {
  return `${exchange} ${symbol}`;
}

function chosen(given: string | null | undefined, current: string | null): string | null {
  return given === undefined ? current : given;
}

export function isGiven<T>(value: T | null | undefined): value is T {
  return value !== null && value !== undefined;
}

/**
 * What an open position has gained since its entry, in quote currency: (mark − entry) · quantity,
 * sign flipped for SHORT. 0 without a mark.
 */
export function unrealizedPnl(position: Position, mark: string | null): string {
  if (mark === null) return '0';
  const gain = new Decimal(mark).minus(position.entryPrice).times(position.quantity);
  return toAmount(position.side === 'LONG' ? gain : gain.negated());
}
