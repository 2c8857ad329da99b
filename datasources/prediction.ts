import type { ChangeRecorder } from './change-recorder.ts';
import { createKeyset, type TimeRange, within } from './keyset.ts';
import { DatabaseError } from './postgres.ts';
import { fragment, isOneOf, type Sql, type SqlStatement } from './sql.ts';

export type Direction = 'LONG' | 'SHORT' | 'NEUTRAL';

export interface PredictionHorizon {
  readonly horizonMinutes: number;
  readonly direction: Direction;
  readonly confidence: number;
  readonly probabilityLong: number | null;
  readonly probabilityShort: number | null;
  readonly probabilityNeutral: number | null;
  readonly predictedReturn: number | null;
}

export interface PredictionOutcome {
  readonly actualReturn: number;
  readonly actualDirection: Direction;
  readonly correct: boolean;
  readonly returnError: number | null;
  readonly resolvedAt: string;
}

/** A horizon as it is stored: its outcome columns are null while it is pending. */
export type HorizonRow = PredictionHorizon & {
  readonly predictionId: string;
} & { readonly [Column in keyof PredictionOutcome]: PredictionOutcome[Column] | null };

/** What a model said about one instrument at one instant; its wide columns are PredictionDetails. */
export interface Prediction {
  readonly accountId: string;
  readonly id: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly interval: string;
  readonly modelVersion: string;
  readonly predictedAt: string;
  readonly price: string | null;
  readonly signal: Direction;
  readonly signalConfidence: number;
  readonly riskScore: number | null;
  readonly inferenceTimeMs: number | null;
  readonly createdAt: string;
}

/** What of a prediction may be many kilobytes. */
export interface PredictionDetails {
  readonly id: string;
  readonly features: readonly number[] | null;
  readonly indicators: unknown;
  readonly metadata: unknown;
}

/** With whether an outcome of it is still to come. */
export interface LoggedPrediction extends Prediction {
  readonly isPending: boolean;
}

/** What a client said of one prediction: it is hashed and stored as this one text. */
export type PredictionContent = Omit<Prediction, 'accountId' | 'id' | 'createdAt'> &
  Omit<PredictionDetails, 'id'> & { readonly horizons: readonly PredictionHorizon[] };

export interface NewPrediction {
  readonly id: string;
  readonly predictedAt: string;
  /** Of its shortest horizon; null: it has none. */
  readonly firstMinutes: number | null;
  /** A PredictionContent as JSON: made once, because that is most of what a batch costs here. */
  readonly content: string;
  /** The SHA-256 (hex) of `content`. */
  readonly itemHash: string;
}

export interface PredictionWhere {
  readonly exchange?: string | null;
  readonly symbols?: readonly string[] | null;
  readonly interval?: string | null;
  readonly modelVersions?: readonly string[] | null;
  readonly signal?: readonly Direction[] | null;
  readonly minConfidence?: number | null;
  /** True: every horizon has its outcome; false: at least one is pending. */
  readonly resolved?: boolean | null;
  /** from <= predictedAt < to */
  readonly predictedAt?: TimeRange | null;
}

/** A unit met a month without partitions: they are made outside of it, then it runs again. */
export class MissingPartitionError extends Error {
  /** First days: `2026-11-01`. */
  readonly months: readonly string[];

  constructor(months: readonly string[]) {
    super(`no partitions for ${months.join(', ')}`);
    this.name = 'MissingPartitionError';
    this.months = months;
  }
}

const columns = fragment`
  account_id, id, exchange, symbol, interval, model_version, predicted_at,
  trim_scale(price) as price, signal, signal_confidence, risk_score, inference_time_ms, created_at`;

export function createPredictionRepository(sql: Sql, recorder: ChangeRecorder) {
  const pages = createKeyset<Prediction, PredictionWhere>(sql, {
    names: {
      findByIds: fragment`/* predictions.findByIds */`,
      list: fragment`/* predictions.list */`,
      count: fragment`/* predictions.count */`,
    },
    table: fragment`predictions`,
    columns,
    conditions: predictionConditions,
  });
  return {
    ...pages,

    /** The newest prediction of each symbol that has one, in the order of `symbols`. */
    async listLatest(
      accountId: string,
      symbols: readonly string[],
      modelVersion: string | null,
    ): Promise<readonly Prediction[]> {
      return sql<Prediction>`
        /* predictions.listLatest */
        select latest.* from unnest(${symbols}::text[]) with ordinality as wanted (name, place)
        cross join lateral (
          select ${columns} from predictions
          where account_id = ${accountId} and symbol = wanted.name
            ${modelVersion === null ? fragment`` : fragment`and model_version = ${modelVersion}`}
          order by id desc limit 1) as latest
        order by wanted.place`;
    },

    /** The wide columns of these predictions, in no order; they never change. */
    async listDetails(
      accountId: string,
      ids: readonly string[],
    ): Promise<readonly PredictionDetails[]> {
      return sql<PredictionDetails>`
        /* predictions.listDetails */
        select id, features, indicators, metadata from predictions
        where account_id = ${accountId} and id = any(${ids}::uuid[])`;
    },

    /** The horizons of these predictions, shortest first within each. */
    async listHorizons(
      accountId: string,
      predictionIds: readonly string[],
    ): Promise<readonly HorizonRow[]> {
      return sql<HorizonRow>`
        /* predictions.listHorizons */
        select prediction_id, horizon_minutes, direction, confidence, probability_long,
          probability_short, probability_neutral, predicted_return, actual_return,
          actual_direction, correct, return_error, resolved_at
        from prediction_horizons
        where account_id = ${accountId} and prediction_id = any(${predictionIds}::uuid[])
        order by prediction_id, horizon_minutes`;
    },

    /** The hash of the item that created each of these predictions, by id. */
    async findHashes(
      accountId: string,
      ids: readonly string[],
    ): Promise<ReadonlyMap<string, string>> {
      const rows = await sql<{ id: string; itemHash: string }>`
        /* predictions.findHashes */
        select id, encode(item_hash, 'hex') as item_hash from predictions
        where account_id = ${accountId} and id = any(${ids}::uuid[])`;
      return new Map(rows.map((row) => [row.id, row.itemHash]));
    },

    /**
     * Inserts the predictions that are not there yet with their horizons and their places in the
     * queue for outcomes, in one statement, and records them as one change. The ids of those
     * inserted.
     *
     * @throws MissingPartitionError for the unit of work, which makes them and runs again
     */
    async insertMany(
      accountId: string,
      predictions: readonly NewPrediction[],
    ): Promise<ReadonlySet<string>> {
      const rows = await insertStatement(sql, accountId, recorder.at, predictions).then(
        (inserted) => inserted,
        (error: unknown) => {
          throw toMissingPartition(error, predictions);
        },
      );
      const ids = rows.map((row) => row.id);
      if (ids.length > 0) {
        recorder.record({
          accountId,
          entity: 'prediction',
          operation: 'INSERT',
          ids,
          count: ids.length,
        });
      }
      return new Set(ids);
    },
  };
}

/** Those of these rows that there still are, by id, which is by the time of the prediction. */
export async function readLogged(
  sql: Sql,
  accountId: string,
  ids: readonly string[],
): Promise<readonly LoggedPrediction[]> {
  return sql<LoggedPrediction>`
    /* predictions.readLogged */
    select ${columns}, ${isPending} as is_pending from predictions
    where account_id = ${accountId} and id = any(${ids}::uuid[])
    order by id`;
}

function insertStatement(
  sql: Sql,
  accountId: string,
  createdAt: string,
  predictions: readonly NewPrediction[],
) {
  return sql<{ id: string }>`
    /* predictions.insertMany */
    with input as materialized (
      select * from json_to_recordset(${toJson(predictions)}::text::json) as i (
        id uuid, exchange text, symbol text, interval text, "modelVersion" text,
        "predictedAt" timestamptz, price numeric, signal text, "signalConfidence" float8,
        "riskScore" float8, "inferenceTimeMs" float8, features float8[], indicators jsonb,
        metadata jsonb, "itemHash" text, "firstMinutes" int, horizons json)
    ), inserted as (
      insert into predictions (
        account_id, id, exchange, symbol, interval, model_version, predicted_at, price, signal,
        signal_confidence, risk_score, inference_time_ms, features, indicators, metadata,
        created_at, item_hash)
      select ${accountId}, id, exchange, symbol, interval, "modelVersion", "predictedAt", price,
        signal, "signalConfidence", "riskScore", "inferenceTimeMs", features, indicators,
        metadata, ${createdAt}::timestamptz, decode("itemHash", 'hex')
      from input order by id
      on conflict (account_id, id) do nothing
      returning id
    ), horizons as (
      insert into prediction_horizons (
        account_id, prediction_id, horizon_minutes, direction, confidence, probability_long,
        probability_short, probability_neutral, predicted_return)
      select ${accountId}, id, h."horizonMinutes", h.direction, h.confidence, h."probabilityLong",
        h."probabilityShort", h."probabilityNeutral", h."predictedReturn"
      from inserted join input using (id)
      cross join lateral json_to_recordset(input.horizons) as h (
        "horizonMinutes" int, direction text, confidence float8, "probabilityLong" float8,
        "probabilityShort" float8, "probabilityNeutral" float8, "predictedReturn" float8)
    ), queued as (
      insert into outcome_queue (account_id, due_at, prediction_id)
      select ${accountId}, "predictedAt" + "firstMinutes" * interval '1 minute', id
      from inserted join input using (id) where "firstMinutes" is not null
    )
    select id from inserted`;
}

// Ids and hashes are hex digits: nothing in them needs quoting.
function toJson(predictions: readonly NewPrediction[]): string {
  const rows = predictions.map(({ id, itemHash, firstMinutes, content }) => {
    const own = `"id":"${id}","itemHash":"${itemHash}","firstMinutes":${firstMinutes}`;
    return `{${own},${content.slice(1)}`;
  });
  return `[${rows.join(',')}]`;
}

// A row without a partition is a check violation that names no constraint.
function toMissingPartition(error: unknown, predictions: readonly NewPrediction[]): unknown {
  if (!(error instanceof DatabaseError)) return error;
  if (error.sqlState !== '23514' || error.constraint !== null) return error;
  const months = new Set(predictions.map(({ predictedAt }) => `${predictedAt.slice(0, 7)}-01`));
  return new MissingPartitionError([...months].sort());
}

const isPending = fragment`exists (
  select from prediction_horizons h
  where h.account_id = predictions.account_id and h.prediction_id = predictions.id
    and h.resolved_at is null)`;

/** What `where` asks of the columns of `predictions`, which has no other name in the statement. */
export function predictionConditions(where: PredictionWhere): SqlStatement<unknown> {
  return fragment`
    ${where.exchange ? fragment`and exchange = ${where.exchange}` : fragment``}
    ${where.symbols ? fragment`and ${isOneOf(fragment`symbol`, where.symbols, fragment`text`)}` : fragment``}
    ${where.interval ? fragment`and interval = ${where.interval}` : fragment``}
    ${where.modelVersions ? fragment`and model_version = any(${where.modelVersions}::text[])` : fragment``}
    ${where.signal ? fragment`and signal = any(${where.signal}::text[])` : fragment``}
    ${isNumber(where.minConfidence) ? fragment`and signal_confidence >= ${where.minConfidence}` : fragment``}
    ${where.resolved === true ? fragment`and not ${isPending}` : fragment``}
    ${where.resolved === false ? fragment`and ${isPending}` : fragment``}
    ${within(fragment`predicted_at`, where.predictedAt)}`;
}

function isNumber(value: number | null | undefined): value is number {
  return value !== null && value !== undefined;
}
