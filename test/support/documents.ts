import type { Answer, AnswerError, RequestOptions, TestServer } from './server.ts';
import type { Item } from './make.ts';

/** The documents that most tests send, with the types of their answers. */

export interface PositionNode {
  readonly id: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: string;
  readonly status: string;
  readonly quantity: string;
  readonly entryPrice: string;
  readonly markPrice: string | null;
  readonly stopLossPrice: string | null;
  readonly takeProfitPrice: string | null;
  readonly leverage: string;
  readonly realizedPnl: string;
  readonly unrealizedPnl: string;
  readonly fees: string;
  readonly strategy: string | null;
  readonly closeReason: string | null;
  readonly metadata: unknown;
  readonly openedAt: string;
  readonly updatedAt: string;
  readonly closedAt: string | null;
  readonly version: number;
}

export interface ItemError {
  readonly code: string;
  readonly message: string;
  readonly path: readonly string[];
}

export interface Result {
  readonly index: number;
  readonly status: string;
  readonly error: ItemError | null;
}

export interface Batch<Each extends Result> {
  readonly counts: Readonly<Record<string, number>>;
  readonly results: readonly Each[];
}

export type PositionResult = Result & { readonly position: PositionNode | null };
export type PredictionResult = Result & { readonly id: string | null };

const POSITION = `fragment position on Position {
  id exchange symbol side status quantity entryPrice markPrice stopLossPrice takeProfitPrice
  leverage realizedPnl unrealizedPnl fees strategy closeReason metadata openedAt updatedAt closedAt
  version
}`;

const COUNTS = `counts {
  created updated unchanged replayed conflict notFound rejected notAttempted
}`;
const ERROR = 'error { code message path }';

function positionsDocument(field: string): string {
  const type = `${field.charAt(0).toUpperCase()}${field.slice(1)}Input`;
  return `mutation ${field}($input: ${type}!) {
    ${field}(input: $input) { ${COUNTS} results { index status ${ERROR} position { ...position } } }
  } ${POSITION}`;
}

export const OPEN: string = positionsDocument('openPositions');
export const UPDATE: string = positionsDocument('updatePositions');
export const CLOSE: string = positionsDocument('closePositions');
export const PREDICT = `mutation logPredictions($input: LogPredictionsInput!) {
  logPredictions(input: $input) { ${COUNTS} results { index status id ${ERROR} } }
}`;
export const INGEST = `mutation ingestCandles($input: IngestCandlesInput!) {
  ingestCandles(input: $input) { created updated unchanged }
}`;

export interface BatchOptions extends RequestOptions {
  readonly account?: string | undefined;
  readonly mode?: 'ATOMIC' | 'PER_ITEM' | 'VALIDATE_ONLY';
}

export function inputOf(items: readonly Item[], { account = 'main', mode }: BatchOptions = {}) {
  return { input: { account, items, ...(mode === undefined ? {} : { mode }) } };
}

function sender<Payload>(document: string, field: string) {
  return async (
    server: TestServer,
    items: readonly Item[],
    options: BatchOptions = {},
  ): Promise<Payload> => {
    const variables = inputOf(items, options);
    const data = await server.data<Readonly<Record<string, Payload>>>(document, variables, options);
    const payload = data[field];
    if (payload === undefined) throw new Error(`no ${field} in the answer`);
    return payload;
  };
}

export const open = sender<Batch<PositionResult>>(OPEN, 'openPositions');
export const update = sender<Batch<PositionResult>>(UPDATE, 'updatePositions');
export const close = sender<Batch<PositionResult>>(CLOSE, 'closePositions');
export const predict = sender<Batch<PredictionResult>>(PREDICT, 'logPredictions');

/** The position that an accepted item opened. */
export async function openOne(
  server: TestServer,
  item: Item,
  options: BatchOptions = {},
): Promise<PositionNode> {
  const { results } = await open(server, [item], options);
  return positionOf(results[0]);
}

export function positionOf(result: PositionResult | undefined): PositionNode {
  if (!result?.position) throw new Error(`no position in ${JSON.stringify(result)}`);
  return result.position;
}

/** The one error of an answer without data. */
export function refusalOf({ data, errors, text }: Answer<unknown>): AnswerError {
  const [error] = errors;
  if (data !== null || errors.length !== 1 || error === undefined) {
    throw new Error(`not one refusal: ${text.slice(0, 2000)}`);
  }
  return error;
}

export function statusesOf(batch: Batch<Result>): readonly string[] {
  return batch.results.map((result) => result.status);
}

/** The codes of the items' errors, null where one was accepted. */
export function codesOf(batch: Batch<Result>): readonly (string | null)[] {
  return batch.results.map((result) => result.error?.code ?? null);
}
