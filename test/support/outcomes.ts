import type { Group } from './accuracy-model.ts';
import {
  type Batch,
  type BatchOptions,
  inputOf,
  INGEST,
  predict,
  type Result,
} from './documents.ts';
import {
  candleItem,
  horizonItem,
  type Item,
  makeSymbol,
  PREDICTED_AT,
  predictionItem,
} from './make.ts';
import type { TestServer } from './server.ts';

/** Outcomes: their documents, the types of the answers, and predictions whose candles are there. */

export interface OutcomeBatch extends Batch<Result> {
  readonly resolved: number;
  readonly pending: number;
  readonly hasMore: boolean;
}

export interface Outcome {
  readonly actualReturn: number;
  readonly actualDirection: string;
  readonly correct: boolean;
  readonly returnError: number | null;
  readonly resolvedAt: string;
}

const PAYLOAD = `{
  resolved pending hasMore
  counts { created updated unchanged replayed conflict notFound rejected notAttempted }
  results { index status error { code message path } }
}`;

export const RECORD_OUTCOMES = `mutation recordOutcomes($input: RecordOutcomesInput!) {
  recordOutcomes(input: $input) ${PAYLOAD}
}`;
export const EVALUATE = `mutation evaluateOutcomes($input: EvaluateOutcomesInput!) {
  evaluateOutcomes(input: $input) ${PAYLOAD}
}`;

export async function recordOutcomes(
  server: TestServer,
  items: readonly Item[],
  options: BatchOptions = {},
): Promise<OutcomeBatch> {
  const variables = inputOf(items, options);
  const data = await server.data<{ recordOutcomes: OutcomeBatch }>(
    RECORD_OUTCOMES,
    variables,
    options,
  );
  return data.recordOutcomes;
}

export async function evaluate(server: TestServer, input: Item = {}): Promise<OutcomeBatch> {
  const variables = { input: { account: 'main', ...input } };
  const data = await server.data<{ evaluateOutcomes: OutcomeBatch }>(EVALUATE, variables);
  return data.evaluateOutcomes;
}

/** Its global id. */
export async function predictOne(
  server: TestServer,
  changes: Item = {},
  options: BatchOptions = {},
): Promise<string> {
  const { results } = await predict(server, [predictionItem(changes)], options);
  const [result] = results;
  if (!result?.id) throw new Error(`nothing was stored: ${JSON.stringify(result)}`);
  return result.id;
}

/** Horizons of 15, 30, 45 and 60 minutes. */
export function quarters(): readonly Item[] {
  return [15, 30, 45, 60].map((minutes) => horizonItem(minutes));
}

/** One with these horizons, in an account of its own: what is pending elsewhere does not count. */
export async function predictQuarters(
  server: TestServer,
  account: string,
  changes: Item = {},
): Promise<string> {
  return predictOne(server, { horizons: quarters(), ...changes }, { account });
}

/** The outcomes of a prediction's horizons, by their minutes; null while pending. */
export async function outcomesOf(
  server: TestServer,
  id: string,
): Promise<Readonly<Record<number, Outcome | null>>> {
  interface Found {
    readonly node: {
      readonly horizons: readonly { horizonMinutes: number; outcome: Outcome | null }[];
    };
  }
  const { node } = await server.data<Found>(
    `query ($id: ID!) {
      node(id: $id) {
        ... on Prediction {
          horizons {
            horizonMinutes
            outcome { actualReturn actualDirection correct returnError resolvedAt }
          }
        }
      }
    }`,
    { id },
  );
  return Object.fromEntries(node.horizons.map((each) => [each.horizonMinutes, each.outcome]));
}

export async function ingest(server: TestServer, items: readonly Item[]): Promise<void> {
  await server.data(INGEST, { input: { items } });
}

/** A candle of 15 minutes that closes at an instant with this price. */
export function closing(symbol: string, at: string, close: string): Item {
  const openTime = new Date(Date.parse(at) - 900_000).toISOString();
  return candleItem({ symbol, openTime, open: close, high: close, low: close, close });
}

/** `PREDICTED_AT` and so many minutes. */
export function minutesOn(minutes: number): string {
  return `${new Date(Date.parse(PREDICTED_AT) + minutes * 60_000).toISOString().slice(0, 23)}000Z`;
}

/** A symbol whose candles of 15 minutes close with these prices, from `PREDICTED_AT` on; null: a gap. */
export async function makeSeries(
  server: TestServer,
  closes: readonly (string | null)[],
): Promise<string> {
  const symbol = makeSymbol();
  const items = closes.flatMap((close, place) =>
    close === null ? [] : [closing(symbol, minutesOn(place * 15), close)],
  );
  await ingest(server, items);
  return symbol;
}

/** What of an account waits for its outcome. */
export async function waitingOf({ sql }: TestServer, account: string): Promise<unknown> {
  const [row] = await sql`
    select (select count(*)::int from outcome_queue where account_id = ${account}) as queued,
      (select count(*)::int from outcome_gaps where account_id = ${account}) as gaps`;
  return row;
}

export const ACCURACY = `query predictionAccuracy(
  $account: ID, $where: PredictionWhere, $groupBy: [AccuracyDimension!], $minSamples: Int
) {
  predictionAccuracy(
    account: $account, where: $where, groupBy: $groupBy, minSamples: $minSamples
  ) {
    modelVersion symbol horizonMinutes direction confidenceBucket day total resolved pending correct
    accuracy { value low high samples }
    mae rmse bias meanConfidence brier ece informationCoefficient
    precisionLong precisionShort recallLong recallShort
    reliability { low high count meanConfidence accuracy }
    lowSample
  }
}`;

export async function accuracy(server: TestServer, variables: Item): Promise<readonly Group[]> {
  const data = await server.data<{ predictionAccuracy: readonly Group[] }>(ACCURACY, variables);
  return data.predictionAccuracy;
}

/** Where two answers differ by more than the last digits of numbers. */
export function differencesOf(found: unknown, expected: unknown, path = ''): readonly string[] {
  if (typeof found === 'number' && typeof expected === 'number') {
    return Math.abs(found - expected) <= 1e-9 ? [] : [`${path}: ${found}, not ${expected}`];
  }
  if (!isObject(found) || !isObject(expected)) {
    return Object.is(found, expected) ? [] : [`${path}: ${found}, not ${expected}`];
  }
  const names = new Set([...Object.keys(found), ...Object.keys(expected)]);
  return [...names].flatMap((name) =>
    differencesOf(found[name], expected[name], `${path}.${name}`),
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
