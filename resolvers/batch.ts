import { hash as digest } from 'node:crypto';
import type { BatchMode, Unit } from '../datasources/unit-of-work.ts';
import { AppError } from '../errors.ts';
import { canonicalJson } from '../datasources/canonical.ts';

export const BATCH_ITEMS_MAX = 1000;
/** Of all fields of one operation together, with what `cancelOrders` finds by `where`. */
export const OPERATION_ITEMS_MAX = 10_000;

export type ItemStatus =
  | 'CREATED'
  | 'UPDATED'
  | 'UNCHANGED'
  | 'REPLAYED'
  | 'CONFLICT'
  | 'NOT_FOUND'
  | 'REJECTED'
  | 'NOT_ATTEMPTED';

/** Why one item was refused. Codes are API: add, never rename. */
export type ItemCode =
  | 'BAD_INPUT'
  | 'BELOW_FILLED'
  | 'CLIENT_ID_REUSED'
  | 'CONFLICT'
  | 'DUPLICATE_IN_BATCH'
  | 'EXCEEDS_ORDER'
  | 'EXCEEDS_POSITION'
  | 'ILLEGAL_TRANSITION'
  | 'MANAGED_BY_FILLS'
  | 'NOTHING_TO_REDUCE'
  | 'NOT_FOUND'
  | 'NO_SUCH_HORIZON'
  | 'OFF_STEP'
  | 'OFF_TICK'
  | 'ORDER_NOT_OPEN'
  | 'ORDER_REJECTED'
  | 'POSITION_EXISTS'
  | 'POSITION_NOT_OPEN'
  | 'SIGNAL_NOT_ACTIVE'
  | 'STOP_ON_WRONG_SIDE'
  | 'TRADE_ID_REUSED'
  | 'TRADING_HALTED'
  | 'TRADING_REDUCING'
  | 'VERSION_CONFLICT';

export interface ItemError {
  readonly code: ItemCode;
  readonly message: string;
  readonly path: readonly string[];
}

export interface ItemResult {
  readonly index: number;
  readonly status: ItemStatus;
  readonly error: ItemError | null;
}

export interface BatchCounts {
  readonly created: number;
  readonly updated: number;
  readonly unchanged: number;
  readonly replayed: number;
  readonly conflict: number;
  readonly notFound: number;
  readonly rejected: number;
  readonly notAttempted: number;
}

export interface BatchPayload<Result> {
  readonly results: readonly Result[];
  readonly counts: BatchCounts;
}

type RefusedStatus = 'CONFLICT' | 'NOT_FOUND' | 'REJECTED';

/** Refuses one item; caught by `examine` or turned into its result. */
export class ItemRefusal extends Error {
  readonly status: RefusedStatus;
  readonly code: ItemCode;
  /** Below the item: `['quantity']`. */
  readonly path: readonly string[];

  constructor(
    status: RefusedStatus,
    code: ItemCode,
    message: string,
    path: readonly string[] = [],
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.path = path;
  }
}

/** What `build` makes of an item, or its refusal. */
export function examine<T>(build: () => T): T | ItemRefusal {
  try {
    return build();
  } catch (error) {
    if (error instanceof ItemRefusal) return error;
    if (error instanceof AppError && error.code === 'BAD_INPUT') {
      return new ItemRefusal('REJECTED', 'BAD_INPUT', error.message, error.inputPath ?? []);
    }
    throw error;
  }
}

/** Those that were not refused. */
export function acceptedOf<T>(examined: readonly (T | ItemRefusal)[]): readonly T[] {
  return examined.filter((one): one is T => !(one instanceof ItemRefusal));
}

/** The error of an item as a client sees it; its path starts at the field's arguments. */
export function itemError(index: number, refusal: ItemRefusal, list = 'items'): ItemError {
  return {
    code: refusal.code,
    message: refusal.message,
    path: ['input', list, String(index), ...refusal.path],
  };
}

/**
 * The mode of a field, entered in the unit of work.
 *
 * @throws AppError BATCH_TOO_LARGE over 1000 items, or 10,000 in the operation; BAD_INPUT for none,
 * or for mixed modes
 */
export function enterBatch(
  unit: Unit | null,
  mode: BatchMode | null | undefined,
  items: readonly unknown[],
  list = 'items',
): { readonly unit: Unit; readonly mode: BatchMode } {
  if (unit === null) throw new Error('a batch outside of a mutation');
  assertBatchSize(items, list);
  const chosen = mode ?? 'ATOMIC';
  enterItems(unit, chosen, items.length, ['input', list]);
  return { unit, mode: chosen };
}

/** @throws AppError BATCH_TOO_LARGE over 10,000 items in the operation; BAD_INPUT for mixed modes */
export function enterItems(
  unit: Unit,
  mode: BatchMode,
  count: number,
  path: readonly string[],
): void {
  const items = unit.enter(mode, count);
  if (items <= OPERATION_ITEMS_MAX) return;
  throw new AppError(
    'BATCH_TOO_LARGE',
    `The fields of this operation have ${items} items up to here; at most ${OPERATION_ITEMS_MAX} ` +
      'are allowed in one operation.',
    { path, details: { itemsMax: OPERATION_ITEMS_MAX } },
  );
}

function assertBatchSize(items: readonly unknown[], list: string): void {
  if (items.length > BATCH_ITEMS_MAX) {
    throw new AppError(
      'BATCH_TOO_LARGE',
      `The batch has ${items.length} items; at most ${BATCH_ITEMS_MAX} are allowed.`,
      { path: ['input', list], details: { itemsMax: BATCH_ITEMS_MAX } },
    );
  }
  if (items.length === 0) {
    throw new AppError('BAD_INPUT', 'The batch is empty.', { path: ['input', list] });
  }
}

/**
 * Ends the deciding part of a batch: under ATOMIC one refused item refuses the operation.
 *
 * @throws AppError BATCH_REJECTED whose `items` has the status of each item, in input order
 */
export function assertAccepted(mode: BatchMode, results: readonly ItemResult[]): void {
  if (mode !== 'ATOMIC') return;
  const refused = results.filter((result) => isRefused(result.status));
  const [first] = refused;
  if (first === undefined) return;
  const items = results.map(({ index, status, error }) => ({
    index,
    status: isRefused(status) ? status : 'NOT_ATTEMPTED',
    code: error?.code ?? null,
    message: error?.message ?? null,
    path: error?.path ?? null,
  }));
  throw new AppError(
    'BATCH_REJECTED',
    `${refused.length} of ${results.length} items were refused, so nothing was stored. ` +
      `The first is item ${first.index}: ${first.error?.message ?? first.status}`,
    { path: first.error?.path ?? ['input', 'items', String(first.index)], details: { items } },
  );
}

function isRefused(status: ItemStatus): status is RefusedStatus {
  return status === 'CONFLICT' || status === 'NOT_FOUND' || status === 'REJECTED';
}

/** The payload of a batch: results in input order with their counts. */
export function payload<Result extends ItemResult>(
  results: readonly Result[],
): BatchPayload<Result> {
  const of = (status: ItemStatus) => results.filter((result) => result.status === status).length;
  return {
    results,
    counts: {
      created: of('CREATED'),
      updated: of('UPDATED'),
      unchanged: of('UNCHANGED'),
      replayed: of('REPLAYED'),
      conflict: of('CONFLICT'),
      notFound: of('NOT_FOUND'),
      rejected: of('REJECTED'),
      notAttempted: of('NOT_ATTEMPTED'),
    },
  };
}

/** Refuses the second and later items with the same name. Null: an item without one. */
export function assertUnique(
  seen: Set<string>,
  name: string | null,
  path: readonly string[],
): void {
  if (name === null) return;
  if (seen.has(name)) {
    throw new ItemRefusal(
      'REJECTED',
      'DUPLICATE_IN_BATCH',
      'An earlier item of this batch names the same thing.',
      path,
    );
  }
  seen.add(name);
}

/** The SHA-256 (hex) by which a repeat of an item is told from another one under the same name. */
export function hashItem(item: object): string {
  return hashText(canonicalJson(item));
}

/** The same of an item that is JSON already. */
export function hashText(json: string): string {
  return digest('sha256', json, 'hex');
}
