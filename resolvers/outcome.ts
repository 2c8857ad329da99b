import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { requireId } from '../datasources/id.ts';
import type { HorizonKey, LockedHorizon, NewOutcome } from '../datasources/outcome.ts';
import type { DueHorizon, Examined, Gap } from '../datasources/outcome-queue.ts';
import type { Direction } from '../datasources/prediction.ts';
import type { BatchMode } from '../datasources/unit-of-work.ts';
import { AppError } from '../errors.ts';
import {
  acceptedOf,
  assertAccepted,
  assertUnique,
  type BatchPayload,
  enterBatch,
  examine,
  hashItem,
  type ItemResult,
  ItemRefusal,
  itemError,
  payload,
} from './batch.ts';
import { assertInstant, assertReturn } from './check.ts';
import { type OutcomeRule, readOutcomeRule } from './outcome-rule.ts';

/** Horizons that one call of evaluateOutcomes looks at. */
const OUTCOMES_MAX = 10_000;

export interface OutcomesPayload extends BatchPayload<ItemResult> {
  /** Horizons that got their outcome by this call. */
  readonly resolved: number;
  /** Horizons of the account that are over and have no outcome; counted up to 100,000. */
  pending(): Promise<number>;
  /** Whether there are horizons that are over and that no call has looked at. */
  hasMore(): Promise<boolean>;
}

export interface RecordOutcomeItem {
  readonly predictionId: string;
  readonly horizonMinutes: number;
  readonly actualReturn: number;
  readonly actualDirection?: Direction | null;
  readonly resolvedAt?: string | null;
}

/** An accepted item; its direction is told by the rule of the account where it names none. */
type Recorded = HorizonKey & {
  readonly actualReturn: number;
  readonly actualDirection: Direction | null;
  readonly resolvedAt: string;
  readonly outcomeHash: string;
};

/**
 * Stores what a client knows of the outcomes of horizons. One result per item, in input order; of
 * several faults the first counts: REJECTED (also a horizon that the prediction does not have),
 * NOT_FOUND, CONFLICT (it has another outcome), REPLAYED (the same item again), UNCHANGED (it was
 * evaluated from candles with the same result), CREATED.
 *
 * @throws AppError BATCH_TOO_LARGE, BATCH_REJECTED, BAD_INPUT, FORBIDDEN
 */
export async function recordOutcomes(
  context: Context,
  input: { account?: string | null; mode?: BatchMode | null; items: readonly RecordOutcomeItem[] },
): Promise<OutcomesPayload> {
  const accountId = requireAccount(context.actor, input.account, 'predictions:write');
  const { unit, mode } = enterBatch(context.unit, input.mode, input.items);
  const { outcomeQueue, outcomes: repository } = context.datasources;
  const seen = new Set<string>();
  const items = input.items.map((item) =>
    examine(() => newRecorded(accountId, item, unit.at, seen)),
  );
  const stored = await readStored(context, accountId, acceptedOf(items));
  const needsRule = acceptedOf(items).some((item) => item.actualDirection === null);
  const rule = needsRule ? await readOutcomeRule(context, accountId) : null;
  const created: NewOutcome[] = [];
  const results = items.map((item, index): ItemResult => {
    const decided = item instanceof ItemRefusal ? item : examine(() => decide(item, stored, rule));
    if (decided instanceof ItemRefusal) {
      return { index, status: decided.status, error: itemError(index, decided) };
    }
    if (decided.status === 'CREATED') created.push(decided.outcome);
    return { index, status: decided.status, error: null };
  });
  assertAccepted(mode, results);
  if (created.length > 0 && mode !== 'VALIDATE_ONLY') {
    await repository.insertMany(accountId, created);
    await outcomeQueue.removeGaps(accountId, created);
  }
  return {
    ...payload(results),
    resolved: created.length,
    ...standingOf(context, accountId, unit.at, true),
  };
}

function newRecorded(
  accountId: string,
  item: RecordOutcomeItem,
  at: string,
  seen: Set<string>,
): Recorded {
  const { horizonMinutes, actualReturn } = item;
  const predictionId = requireId(item.predictionId, 'prediction', accountId, ['predictionId']);
  assertReturn(actualReturn, ['actualReturn']);
  if (actualReturn < -1) {
    throw new AppError('BAD_INPUT', `${actualReturn} is below -1: nobody can lose more than all.`, {
      path: ['actualReturn'],
    });
  }
  if (item.resolvedAt) assertInstant(item.resolvedAt, ['resolvedAt']);
  assertUnique(seen, `${predictionId} ${horizonMinutes}`, ['horizonMinutes']);
  const actualDirection = item.actualDirection ?? null;
  const said = [
    predictionId,
    horizonMinutes,
    actualReturn,
    actualDirection,
    item.resolvedAt ?? null,
  ];
  return {
    predictionId,
    horizonMinutes,
    actualReturn,
    actualDirection,
    resolvedAt: item.resolvedAt ?? at,
    outcomeHash: hashItem(said),
  };
}

interface Stored {
  /** By `prediction minutes`. */
  readonly horizons: ReadonlyMap<string, LockedHorizon>;
  /** Predictions that exist. */
  readonly predictionIds: ReadonlySet<string>;
}

async function readStored(
  context: Context,
  accountId: string,
  items: readonly Recorded[],
): Promise<Stored> {
  const { outcomes, predictions } = context.datasources;
  const ids = [...new Set(items.map(({ predictionId }) => predictionId))];
  const rows = ids.length === 0 ? [] : await outcomes.lock(accountId, ids);
  const predictionIds = new Set(rows.map(({ predictionId }) => predictionId));
  // A prediction may have no horizons.
  const others = ids.filter((id) => !predictionIds.has(id));
  if (others.length > 0) {
    for (const id of (await predictions.findHashes(accountId, others)).keys()) {
      predictionIds.add(id);
    }
  }
  return { horizons: new Map(rows.map((row) => [keyOf(row), row])), predictionIds };
}

function keyOf({ predictionId, horizonMinutes }: HorizonKey): string {
  return `${predictionId} ${horizonMinutes}`;
}

type Decision =
  | { readonly status: 'CREATED'; readonly outcome: NewOutcome }
  | { readonly status: 'REPLAYED' | 'UNCHANGED' };

function decide(item: Recorded, stored: Stored, rule: OutcomeRule | null): Decision {
  const { predictionId, horizonMinutes, actualReturn } = item;
  if (!stored.predictionIds.has(predictionId)) {
    const message = 'There is no such prediction.';
    throw new ItemRefusal('NOT_FOUND', 'NOT_FOUND', message, ['predictionId']);
  }
  const row = stored.horizons.get(keyOf(item));
  if (row === undefined) {
    const message = `The prediction has no horizon of ${horizonMinutes} minutes.`;
    throw new ItemRefusal('REJECTED', 'NO_SUCH_HORIZON', message, ['horizonMinutes']);
  }
  const actualDirection = item.actualDirection ?? rule?.(horizonMinutes, actualReturn);
  if (actualDirection === undefined) throw new Error('the rule was not read');
  if (row.actualReturn === null) {
    return { status: 'CREATED', outcome: { ...item, actualDirection } };
  }
  if (row.outcomeHash === item.outcomeHash) return { status: 'REPLAYED' };
  const isSame = row.actualReturn === actualReturn && row.actualDirection === actualDirection;
  if (row.outcomeHash === null && isSame) return { status: 'UNCHANGED' };
  const message =
    row.outcomeHash === null
      ? `Another outcome was evaluated from candles: ${row.actualReturn}, ${row.actualDirection}.`
      : 'Another outcome is recorded for this horizon.';
  throw new ItemRefusal('CONFLICT', 'CONFLICT', message, ['actualReturn']);
}

/**
 * Gives horizons that are over at `upTo` (at most now) their outcomes from candles, the oldest
 * first, looking at up to `limit` of them. One whose candle is missing stays pending and is looked
 * at again once that candle has come. What has an outcome keeps it.
 *
 * @throws AppError BAD_INPUT for `limit` outside 1–10000, or a setting that cannot be read;
 * FORBIDDEN, NOT_FOUND (the account)
 */
export async function evaluateOutcomes(
  context: Context,
  input: { account?: string | null; upTo?: string | null; limit?: number | null },
): Promise<OutcomesPayload> {
  const accountId = requireAccount(context.actor, input.account, 'predictions:write');
  const { unit } = context;
  if (unit === null) throw new Error('an evaluation outside of a mutation');
  unit.enter('ATOMIC');
  const limit = input.limit ?? OUTCOMES_MAX;
  if (limit < 1 || limit > OUTCOMES_MAX) {
    throw new AppError('BAD_INPUT', `limit is ${limit}; it must be 1 to ${OUTCOMES_MAX}.`, {
      path: ['input', 'limit'],
    });
  }
  const upTo = input.upTo && input.upTo < unit.at ? input.upTo : unit.at;
  const rule = await readOutcomeRule(context, accountId);
  const { outcomeQueue, outcomes } = context.datasources;
  await outcomeQueue.lock(accountId);
  const isAwake = await outcomeQueue.wake(accountId, limit);
  const due = await outcomeQueue.findDue(accountId, upTo, limit);
  const found = due.flatMap((horizon) => outcomeOf(horizon, rule, unit.at));
  const written = found.length === 0 ? [] : await outcomes.insertMany(accountId, found);
  if (due.length > 0) await outcomeQueue.finish(accountId, examinedOf(due), due.flatMap(gapOf));
  const { counts } = payload([]);
  return {
    results: [],
    counts: { ...counts, created: written.length },
    resolved: written.length,
    ...standingOf(context, accountId, upTo, isAwake),
  };
}

/** Read when asked for: counting may cost more than the work. */
function standingOf(context: Context, accountId: string, upTo: string, isAwake: boolean) {
  const { outcomeQueue } = context.datasources;
  return {
    pending: () => outcomeQueue.countPending(accountId, upTo),
    hasMore: async () => !isAwake || outcomeQueue.hasDue(accountId, upTo),
  };
}

function outcomeOf(horizon: DueHorizon, rule: OutcomeRule, resolvedAt: string): NewOutcome[] {
  const { predictionId, horizonMinutes, actualReturn, isPending } = horizon;
  if (!isPending || horizonMinutes === null || actualReturn === null) return [];
  const actualDirection = rule(horizonMinutes, actualReturn);
  return [
    { predictionId, horizonMinutes, actualReturn, actualDirection, resolvedAt, outcomeHash: null },
  ];
}

/** The first candle that a horizon lacks: it is compared again when that has come. */
function gapOf(horizon: DueHorizon): Gap[] {
  const { predictionId, horizonMinutes, dueAt, exchange, symbol, interval } = horizon;
  if (!horizon.isPending || horizonMinutes === null || dueAt === null) return [];
  if (horizon.hasStart && horizon.hasEnd) return [];
  const closeTime = horizon.hasStart ? dueAt : horizon.predictedAt;
  return [{ predictionId, horizonMinutes, closeTime, exchange, symbol, interval, dueAt }];
}

/** Of each prediction a beginning of what is due was looked at: it goes on after the last. */
function examinedOf(due: readonly DueHorizon[]): readonly Examined[] {
  const last = new Map(due.map((horizon) => [horizon.predictionId, horizon]));
  return [...last.values()].map(({ predictionId, queuedAts, dueAt, nextDueAt }) => ({
    predictionId,
    queuedAts: dueAt === null ? queuedAts : queuedAts.filter((queuedAt) => queuedAt <= dueAt),
    nextDueAt,
  }));
}
