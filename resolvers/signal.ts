import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { requireId, uuidOf } from '../datasources/id.ts';
import { instantOf, millisecondsOf } from '../datasources/instant.ts';
import type { Signal, SignalKey, SignalType, SignalWhere } from '../datasources/signal.ts';
import type { BatchMode } from '../datasources/unit-of-work.ts';
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
import {
  assertExchange,
  assertJson,
  assertPositive,
  assertShare,
  assertSymbol,
  assertText,
} from './check.ts';
import { type Page, type PageArguments, readPage } from './page.ts';

/** How long a signal stands that does not say so itself. */
const SIGNAL_LIFETIME_MS = 3_600_000;
const SIGNAL_LIFETIME_MAX_MS = 366 * 24 * 3_600_000;
const DEDUPE_SECONDS_DEFAULT = 300;
const DEDUPE_SECONDS_MAX = 86_400;

export interface SignalResult extends ItemResult {
  readonly signal: Signal | null;
}

export type SignalsPayload = BatchPayload<SignalResult>;

/** Signals that match, newest first unless sorted otherwise. */
export async function signals(
  context: Context,
  input: PageArguments & { account?: string | null; where?: SignalWhere | null },
): Promise<Page<Signal>> {
  const accountId = requireAccount(context.actor, input.account, 'signals:read');
  const where = input.where ?? {};
  const { signals: rows } = context.datasources;
  return readPage(input, { kind: 'signal', accountId, where, rows });
}

export interface CreateSignalItem {
  readonly exchange: string;
  readonly symbol: string;
  readonly type: SignalType;
  readonly strength: number;
  readonly confidence: number;
  readonly strategy: string;
  readonly suggestedPrice?: string | null;
  readonly suggestedStopLoss?: string | null;
  readonly suggestedTakeProfit?: string | null;
  readonly suggestedQuantity?: string | null;
  readonly expiresAt?: string | null;
  readonly dedupeSeconds?: number | null;
  readonly metadata?: unknown;
}

/**
 * Stores signals. One result per item, in input order. A strategy repeats itself at each bar, so an
 * item whose exchange, symbol, strategy and type are those of a signal of the last `dedupeSeconds`
 * is REPLAYED with that signal, whatever else differs: processed or not, as long as it has not
 * expired. Otherwise REJECTED or CREATED.
 *
 * @throws AppError BATCH_TOO_LARGE, BATCH_REJECTED, BAD_INPUT, FORBIDDEN
 */
export async function createSignals(
  context: Context,
  input: { account?: string | null; mode?: BatchMode | null; items: readonly CreateSignalItem[] },
): Promise<SignalsPayload> {
  const accountId = requireAccount(context.actor, input.account, 'signals:write');
  const { unit, mode } = enterBatch(context.unit, input.mode, input.items);
  const checked = input.items.map((item) => examine(() => newSignal(accountId, item, unit.at)));
  const standing = await readStanding(context, accountId, acceptedOf(checked), unit.at);
  const created: Signal[] = [];
  const results = checked.map((one, index): SignalResult => {
    if (one instanceof ItemRefusal) {
      return { index, status: one.status, signal: null, error: itemError(index, one) };
    }
    const { signal, since } = one;
    const earlier = standing.get(keyOf(signal));
    if (earlier !== undefined && since !== null && earlier.createdAt > since) {
      return { index, status: 'REPLAYED', signal: earlier, error: null };
    }
    standing.set(keyOf(signal), signal);
    created.push(signal);
    return { index, status: 'CREATED', signal, error: null };
  });
  assertAccepted(mode, results);
  if (created.length > 0) await context.datasources.signals.insertMany(accountId, created);
  return payload(results);
}

interface NewSignal {
  readonly signal: Signal;
  /** It repeats a signal of the same key that was created after this; null: it repeats none. */
  readonly since: string | null;
}

function newSignal(accountId: string, item: CreateSignalItem, at: string): NewSignal {
  const { exchange, symbol, type, strength, confidence, strategy } = item;
  assertExchange(exchange);
  assertSymbol(symbol);
  assertShare(strength, ['strength']);
  assertShare(confidence, ['confidence']);
  assertText(strategy, ['strategy']);
  for (const name of AMOUNTS) {
    const amount = item[name];
    if (amount !== null && amount !== undefined) assertPositive(amount, [name]);
  }
  assertJson(item.metadata, ['metadata']);
  const atMs = millisecondsOf(at);
  const expiresAt = item.expiresAt ?? instantOf(atMs + SIGNAL_LIFETIME_MS);
  assertExpiry(expiresAt, at);
  const signal: Signal = {
    accountId,
    id: uuidOf(atMs),
    exchange,
    symbol,
    type,
    status: 'ACTIVE',
    strength,
    confidence,
    strategy,
    suggestedPrice: item.suggestedPrice ?? null,
    suggestedStopLoss: item.suggestedStopLoss ?? null,
    suggestedTakeProfit: item.suggestedTakeProfit ?? null,
    suggestedQuantity: item.suggestedQuantity ?? null,
    metadata: item.metadata ?? null,
    createdAt: at,
    expiresAt,
    processedAt: null,
  };
  const dedupeMs = 1000 * dedupeSecondsOf(item);
  return { signal, since: dedupeMs === 0 ? null : instantOf(atMs - dedupeMs) };
}

const AMOUNTS = [
  'suggestedPrice',
  'suggestedStopLoss',
  'suggestedTakeProfit',
  'suggestedQuantity',
] as const;

function assertExpiry(expiresAt: string, at: string): void {
  const latest = instantOf(millisecondsOf(at) + SIGNAL_LIFETIME_MAX_MS);
  if (expiresAt > at && expiresAt <= latest) return;
  throw new AppError('BAD_INPUT', `${expiresAt} must be after ${at}, by 366 days at most.`, {
    path: ['expiresAt'],
  });
}

function dedupeSecondsOf(item: CreateSignalItem): number {
  const seconds = item.dedupeSeconds ?? DEDUPE_SECONDS_DEFAULT;
  if (seconds >= 0 && seconds <= DEDUPE_SECONDS_MAX) return seconds;
  throw new AppError('BAD_INPUT', `${seconds} must be between 0 and ${DEDUPE_SECONDS_MAX}.`, {
    path: ['dedupeSeconds'],
  });
}

/** The signals that these may repeat, by key; other units that create such wait for this one. */
async function readStanding(
  context: Context,
  accountId: string,
  items: readonly NewSignal[],
  at: string,
): Promise<Map<string, Signal>> {
  const keys = new Map<string, SignalKey>();
  let since = at;
  for (const item of items) {
    if (item.since === null) continue;
    keys.set(keyOf(item.signal), item.signal);
    if (item.since < since) since = item.since;
  }
  if (keys.size === 0) return new Map();
  const { signals: repository } = context.datasources;
  const list = [...keys.values()];
  await repository.lockKeys(accountId, list);
  const rows = await repository.findStanding(accountId, list, { since, at });
  return new Map(rows.map((row) => [keyOf(row), row]));
}

function keyOf({ exchange, symbol, strategy, type }: SignalKey): string {
  return JSON.stringify([exchange, symbol, strategy, type]);
}

/**
 * Marks active signals as processed: of two that process one signal one succeeds, so whoever does
 * may act on it. All of them or, when one is refused, none. One result per id, in input order;
 * of several faults the first counts: REJECTED, NOT_FOUND, CONFLICT.
 *
 * @throws AppError BATCH_REJECTED, BATCH_TOO_LARGE, BAD_INPUT, FORBIDDEN
 */
export async function processSignals(
  context: Context,
  input: { account?: string | null; ids: readonly string[] },
): Promise<SignalsPayload> {
  const accountId = requireAccount(context.actor, input.account, 'signals:write');
  const { unit, mode } = enterBatch(context.unit, 'ATOMIC', input.ids, 'ids');
  const seen = new Set<string>();
  const ids = input.ids.map((id) =>
    examine(() => {
      const rowId = requireId(id, 'signal', accountId, []);
      assertUnique(seen, rowId, []);
      return rowId;
    }),
  );
  const { signals: repository } = context.datasources;
  const rows = await repository.lock(accountId, acceptedOf(ids));
  const byId = new Map(rows.map((row) => [row.id, row]));
  const results = ids.map((id, index): SignalResult => {
    const signal = id instanceof ItemRefusal ? null : (byId.get(id) ?? null);
    const refusal = id instanceof ItemRefusal ? id : examine(() => assertActive(signal, unit.at));
    if (!(refusal instanceof ItemRefusal)) return { index, status: 'UPDATED', signal, error: null };
    return { index, status: refusal.status, signal, error: itemError(index, refusal, 'ids') };
  });
  assertAccepted(mode, results);
  const processed = await repository.processMany(
    accountId,
    results.flatMap(({ signal }) => signal ?? []),
  );
  return payload(results.map((one, place) => ({ ...one, signal: processed[place] ?? null })));
}

function assertActive(signal: Signal | null, at: string): void {
  if (signal === null) {
    throw new ItemRefusal('NOT_FOUND', 'NOT_FOUND', 'There is no such signal.');
  }
  if (signal.status !== 'ACTIVE') {
    throw new ItemRefusal('CONFLICT', 'SIGNAL_NOT_ACTIVE', `The signal is ${signal.status}.`);
  }
  // Maintenance marks it as expired within a minute.
  if (signal.expiresAt <= at) {
    const message = `The signal has expired at ${signal.expiresAt}.`;
    throw new ItemRefusal('CONFLICT', 'SIGNAL_NOT_ACTIVE', message);
  }
}
