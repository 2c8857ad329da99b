import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { instantOf } from '../datasources/instant.ts';
import type { Mark, StopTrigger } from '../datasources/mark.ts';
import { AppError } from '../errors.ts';
import { enterBatch } from './batch.ts';
import { assertExchange, assertInstant, assertPositive, assertSymbol } from './check.ts';

/** A mark further ahead than clocks differ would hold back every later one. */
const MARK_AHEAD_MAX_MS = 60_000;

export interface MarkPriceItem {
  readonly exchange: string;
  readonly symbol: string;
  readonly price: string;
  readonly at?: string | null;
}

export interface MarkPricesPayload {
  /** Marks that were newer than those known. */
  readonly updated: number;
  /** In the order of the ids of their positions. */
  readonly triggered: readonly StopTrigger[];
}

/**
 * Tells the account the newest prices of instruments and marks the stops of open positions that
 * they cross, each once. A mark that is not newer than the one known is ignored, whole. All of them
 * or, when one is refused, none.
 *
 * @throws AppError BATCH_TOO_LARGE over 1000 items; BAD_INPUT naming the first bad item; FORBIDDEN
 */
export async function markPrices(
  context: Context,
  input: { account?: string | null; items: readonly MarkPriceItem[] },
): Promise<MarkPricesPayload> {
  const accountId = requireAccount(context.actor, input.account, 'positions:write');
  const { unit } = enterBatch(context.unit, 'ATOMIC', input.items);
  const seen = new Set<string>();
  const times = { at: unit.at, latest: instantOf(Date.now() + MARK_AHEAD_MAX_MS) };
  const marks = input.items.map((item, index) =>
    toMark(item, times, ['input', 'items', String(index)], seen),
  );
  const { marks: repository } = context.datasources;
  const stored = await repository.upsertMany(accountId, marks);
  const triggered = stored.length === 0 ? [] : await repository.triggerStops(accountId, stored);
  return { updated: stored.length, triggered };
}

function toMark(
  item: MarkPriceItem,
  times: { readonly at: string; readonly latest: string },
  path: readonly string[],
  seen: Set<string>,
): Mark {
  const mark = { ...item, at: item.at ?? times.at };
  assertExchange(mark.exchange, [...path, 'exchange']);
  assertSymbol(mark.symbol, [...path, 'symbol']);
  assertPositive(mark.price, [...path, 'price']);
  assertInstant(mark.at, [...path, 'at']);
  if (mark.at > times.latest) {
    throw new AppError(
      'BAD_INPUT',
      `${mark.at} is more than a minute ahead: it would hold back the marks until then.`,
      { path: [...path, 'at'] },
    );
  }
  const key = `${mark.exchange} ${mark.symbol}`;
  if (seen.has(key)) {
    throw new AppError('BAD_INPUT', `The instrument ${key} stands in the batch twice.`, { path });
  }
  seen.add(key);
  return mark;
}
