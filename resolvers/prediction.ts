import { requireAccount } from '../access.ts';
import type { Context } from '../context.ts';
import { uuidOfKey } from '../datasources/id.ts';
import type {
  Direction,
  HorizonRow,
  NewPrediction,
  Prediction,
  PredictionContent,
  PredictionHorizon,
  PredictionOutcome,
  PredictionWhere,
} from '../datasources/prediction.ts';
import type { BatchMode } from '../datasources/unit-of-work.ts';
import { AppError } from '../errors.ts';
import {
  acceptedOf,
  assertAccepted,
  assertUnique,
  type BatchPayload,
  enterBatch,
  examine,
  hashText,
  type ItemResult,
  ItemRefusal,
  itemError,
  payload,
} from './batch.ts';
import {
  assertExchange,
  assertFinite,
  assertInstant,
  assertInterval,
  assertJson,
  assertPositive,
  assertReturn,
  assertShare,
  assertSymbol,
  assertText,
  timeOf,
} from './check.ts';
import { type Page, type PageArguments, PAGE_SIZE_MAX, readPage } from './page.ts';
import { canonical } from '../datasources/canonical.ts';

const HORIZONS_MAX = 16;
const HORIZON_MINUTES_MAX = 60 * 24 * 366;
const FEATURES_MAX = 1024;

export interface PredictionResult extends ItemResult {
  readonly accountId: string;
  /** The row's id, known for every item that is well formed. */
  readonly id: string | null;
  /** The stored row is read only when the client asks for it. */
  readonly isStored: boolean;
}

export type PredictionsPayload = BatchPayload<PredictionResult>;

/** Predictions that match, newest first unless sorted otherwise. */
export async function predictions(
  context: Context,
  input: PageArguments & { account?: string | null; where?: PredictionWhere | null },
): Promise<Page<Prediction>> {
  const accountId = requireAccount(context.actor, input.account, 'predictions:read');
  const where = input.where ?? {};
  const { predictions: rows } = context.datasources;
  return readPage(input, { kind: 'prediction', accountId, where, rows });
}

/**
 * The newest prediction of each symbol that has one, in the order of `symbols`.
 *
 * @throws AppError BAD_INPUT over 500 symbols
 */
export async function latestPredictions(
  context: Context,
  input: { account?: string | null; symbols: readonly string[]; modelVersion?: string | null },
): Promise<readonly Prediction[]> {
  const accountId = requireAccount(context.actor, input.account, 'predictions:read');
  if (input.symbols.length > PAGE_SIZE_MAX) {
    throw new AppError('BAD_INPUT', `At most ${PAGE_SIZE_MAX} symbols are allowed.`, {
      path: ['symbols'],
    });
  }
  return context.datasources.predictions.listLatest(
    accountId,
    input.symbols,
    input.modelVersion ?? null,
  );
}

/** What the market did by the end of a horizon; null while it is pending. */
export function outcomeOf(row: HorizonRow): PredictionOutcome | null {
  const { actualReturn, actualDirection, correct, returnError, resolvedAt } = row;
  if (actualReturn === null || actualDirection === null) return null;
  if (correct === null || resolvedAt === null) return null;
  return { actualReturn, actualDirection, correct, returnError, resolvedAt };
}

export interface LogPredictionItem {
  readonly exchange: string;
  readonly symbol: string;
  readonly interval?: string | null;
  readonly modelVersion: string;
  readonly predictedAt: string;
  readonly price?: string | null;
  readonly signal: Direction;
  readonly signalConfidence: number;
  readonly riskScore?: number | null;
  readonly inferenceTimeMs?: number | null;
  readonly features?: readonly number[] | null;
  readonly indicators?: unknown;
  readonly metadata?: unknown;
  readonly horizons?: readonly HorizonItem[] | null;
}

export interface HorizonItem {
  readonly horizonMinutes: number;
  readonly direction: Direction;
  readonly confidence: number;
  readonly probabilityLong?: number | null;
  readonly probabilityShort?: number | null;
  readonly probabilityNeutral?: number | null;
  readonly predictedReturn?: number | null;
}

/**
 * Stores predictions with their horizons. One result per item, in input order. The natural key is
 * (modelVersion, exchange, symbol, interval, predictedAt): an item that repeats it is REPLAYED with
 * the same content, CONFLICT with another. Of several faults the first counts.
 *
 * @throws AppError BATCH_TOO_LARGE, BATCH_REJECTED, BAD_INPUT, FORBIDDEN, NOT_FOUND (the account)
 */
export async function logPredictions(
  context: Context,
  input: { account?: string | null; mode?: BatchMode | null; items: readonly LogPredictionItem[] },
): Promise<PredictionsPayload> {
  const accountId = requireAccount(context.actor, input.account, 'predictions:write');
  const { mode } = enterBatch(context.unit, input.mode, input.items);
  const { accounts, predictions: repository } = context.datasources;
  // Otherwise the head of the account says so: it is locked to append the change.
  if (mode === 'VALIDATE_ONLY') await accounts.get(accountId);
  const seen = new Set<string>();
  const checked = input.items.map((item) => examine(() => newPrediction(accountId, item, seen)));
  // What is malformed refuses an ATOMIC batch before anything is sent to the database.
  assertAccepted(
    mode,
    checked.map((one, index) => toResult(accountId, index, one, null)),
  );
  const valid = acceptedOf(checked);
  const hashes =
    mode === 'VALIDATE_ONLY'
      ? // An insert that is rolled back would need, and leave, the partitions of its months.
        await repository.findHashes(
          accountId,
          valid.map(({ id }) => id),
        )
      : await insert(repository, accountId, valid);
  const results = checked.map((one, index) => toResult(accountId, index, one, hashes));
  assertAccepted(mode, results);
  return payload(results);
}

/** Stores what is not there yet; the hashes of what is. */
async function insert(
  repository: Context['datasources']['predictions'],
  accountId: string,
  valid: readonly NewPrediction[],
): Promise<ReadonlyMap<string, string> | null> {
  if (valid.length === 0) return null;
  const inserted = await repository.insertMany(accountId, valid);
  const others = valid.flatMap(({ id }) => (inserted.has(id) ? [] : [id]));
  if (others.length === 0) return null;
  const hashes = await repository.findHashes(accountId, others);
  if (others.every((id) => hashes.has(id))) return hashes;
  // Retention came in between.
  throw new AppError('SERIALIZATION_FAILURE', 'A stored prediction was deleted: try again.');
}

/** `hashes` are those of the rows that were there before. */
function toResult(
  accountId: string,
  index: number,
  one: NewPrediction | ItemRefusal,
  hashes: ReadonlyMap<string, string> | null,
): PredictionResult {
  if (one instanceof ItemRefusal) {
    const error = itemError(index, one);
    return { accountId, index, status: one.status, id: null, isStored: false, error };
  }
  const { id } = one;
  const hash = hashes?.get(id);
  if (hash === undefined || hash === one.itemHash) {
    const status = hash === undefined ? 'CREATED' : 'REPLAYED';
    return { accountId, index, status, id, isStored: true, error: null };
  }
  const message = 'Another prediction of this model is stored for this instrument and instant.';
  const refusal = new ItemRefusal('CONFLICT', 'CONFLICT', message, ['predictedAt']);
  const error = itemError(index, refusal);
  return { accountId, index, status: 'CONFLICT', id, isStored: true, error };
}

function newPrediction(
  accountId: string,
  item: LogPredictionItem,
  seen: Set<string>,
): NewPrediction {
  const interval = item.interval ?? '15m';
  checkItem(item, interval);
  const { modelVersion, exchange, symbol, predictedAt } = item;
  const naturalKey = JSON.stringify([
    accountId,
    modelVersion,
    exchange,
    symbol,
    interval,
    predictedAt,
  ]);
  const id = uuidOfKey(timeOf(predictedAt), naturalKey);
  assertUnique(seen, id, ['predictedAt']);
  const said: PredictionContent = {
    exchange,
    symbol,
    interval,
    modelVersion,
    predictedAt,
    price: item.price ?? null,
    signal: item.signal,
    signalConfidence: item.signalConfidence,
    riskScore: item.riskScore ?? null,
    inferenceTimeMs: item.inferenceTimeMs ?? null,
    features: item.features ?? null,
    // The hash is of the text: it must not depend on the order in which a client writes.
    indicators: canonical(item.indicators ?? null),
    metadata: canonical(item.metadata ?? null),
    horizons: newHorizons(item.horizons ?? []),
  };
  const content = JSON.stringify(said);
  const minutes = said.horizons.map(({ horizonMinutes }) => horizonMinutes);
  const firstMinutes = minutes.length === 0 ? null : Math.min(...minutes);
  return { id, predictedAt, firstMinutes, content, itemHash: hashText(content) };
}

function checkItem(item: LogPredictionItem, interval: string): void {
  assertExchange(item.exchange);
  assertSymbol(item.symbol);
  assertInterval(interval);
  assertText(item.modelVersion, ['modelVersion']);
  assertInstant(item.predictedAt, ['predictedAt']);
  if (item.price) assertPositive(item.price, ['price']);
  assertShare(item.signalConfidence, ['signalConfidence']);
  assertFinite(item.riskScore, ['riskScore']);
  assertFinite(item.inferenceTimeMs, ['inferenceTimeMs']);
  if ((item.features?.length ?? 0) > FEATURES_MAX) {
    throw new AppError('BAD_INPUT', `At most ${FEATURES_MAX} features are allowed.`, {
      path: ['features'],
    });
  }
  for (const feature of item.features ?? []) assertFinite(feature, ['features']);
  assertJson(item.indicators, ['indicators']);
  assertJson(item.metadata, ['metadata']);
}

function newHorizons(items: readonly HorizonItem[]): readonly PredictionHorizon[] {
  if (items.length > HORIZONS_MAX) {
    throw new AppError('BAD_INPUT', `At most ${HORIZONS_MAX} horizons are allowed.`, {
      path: ['horizons'],
    });
  }
  const seen = new Set<number>();
  return items.map((item, index) => {
    const path = ['horizons', String(index)];
    const { horizonMinutes } = item;
    if (horizonMinutes < 1 || horizonMinutes > HORIZON_MINUTES_MAX || seen.has(horizonMinutes)) {
      const needed = `1 to ${HORIZON_MINUTES_MAX} and given once`;
      throw new AppError('BAD_INPUT', `A horizon of ${horizonMinutes} minutes must be ${needed}.`, {
        path: [...path, 'horizonMinutes'],
      });
    }
    seen.add(horizonMinutes);
    assertShare(item.confidence, [...path, 'confidence']);
    assertReturn(item.predictedReturn, [...path, 'predictedReturn']);
    for (const name of PROBABILITIES) {
      const share = item[name];
      if (share !== null && share !== undefined) assertShare(share, [...path, name]);
    }
    return {
      horizonMinutes,
      direction: item.direction,
      confidence: item.confidence,
      probabilityLong: item.probabilityLong ?? null,
      probabilityShort: item.probabilityShort ?? null,
      probabilityNeutral: item.probabilityNeutral ?? null,
      predictedReturn: item.predictedReturn ?? null,
    };
  });
}

const PROBABILITIES = ['probabilityLong', 'probabilityShort', 'probabilityNeutral'] as const;
