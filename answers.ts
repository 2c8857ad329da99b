import { hash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  type FragmentDefinitionNode,
  getOperationAST,
  type SelectionSetNode,
} from 'graphql';
import type { Actor } from './access.ts';
import type { Context } from './context.ts';
import type { Answer } from './datasources/answer-cache.ts';
import type { Caches } from './datasources/caches.ts';
import type { createExecution, Operation, OperationParams } from './execution.ts';
import { sendFrameAnswer } from './frame-answer.ts';
import { operationNameOf } from './freshness.ts';
import { assertAffordable } from './limits.ts';
import type { RateLimiter } from './rate-limit.ts';

/** What the headers of a request say. */
export type Arrival = Omit<Operation, 'frames' | 'signal' | 'onStream'>;

/** A request as it has arrived. */
export interface Posted {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: Buffer;
  readonly arrival: Arrival;
}

/** What most requests need and no more: an answer as JSON, made anew or given again. */
export interface Answers {
  /**
   * Sends the answer that was given to the same request in the same scope, if everything in it is
   * still current; before anything is parsed. False: there is none. Mostly told at once.
   */
  repeat(posted: Posted): Promise<boolean> | boolean;
  /**
   * Carries out a query or mutation, sends its answer and keeps it where that may be. False, with
   * nothing done: it is a subscription, it is refused before the execution, or its client wants
   * something else than JSON.
   */
  make(posted: Posted, operation: Operation, params: OperationParams): Promise<boolean>;
}

export interface AnswersOptions {
  readonly execution: ReturnType<typeof createExecution>;
  readonly caches: Caches;
  readonly rateLimiter: RateLimiter;
}

/**
 * Fields of Query whose answers come from counted reads alone. Others depend on the time, on who
 * asks, or on this process.
 */
export const KEPT_FIELDS: ReadonlySet<string> = new Set([
  '__typename',
  'account',
  'balances',
  'candles',
  'changes',
  'latestPredictions',
  'node',
  'nodes',
  'orders',
  'positions',
  'predictionAccuracy',
  'predictionStats',
  'predictions',
  'settings',
  'signals',
  'trades',
  'tradingPerformance',
]);

export const REQUEST_ID_HEADER = 'x-request-id';
/** Longer than a look at the heads takes. */
const SEEN_MS_MAX = 50;

export function createAnswers({ execution, caches, rateLimiter }: AnswersOptions): Answers {
  const { answers, heads, results } = caches;

  /** Whether the commits that the client has seen are known here, which they mostly are. */
  async function hasSeen({ minCommits }: Arrival): Promise<boolean> {
    try {
      for (const { accountId, seq } of minCommits) await heads.reach(accountId, seq, SEEN_MS_MAX);
      return true;
    } catch {
      // The execution waits for it, and says what is wrong.
      return false;
    }
  }

  function give(posted: Posted, mediaType: string, answer: Answer | null): boolean {
    if (answer === null) return false;
    rateLimiter.charge(posted.arrival.actor, answer.cost);
    results.record(answer.operationName, answer.reads, 0);
    send(posted, mediaType, answer.body(), 'hit');
    return true;
  }

  async function giveAfter(posted: Posted, mediaType: string, key: string): Promise<boolean> {
    if (!(await hasSeen(posted.arrival))) return false;
    return give(posted, mediaType, await answers.find(key));
  }

  return {
    repeat(posted) {
      const mediaType = mediaTypeOf(posted.request.headers.accept);
      const key = mediaType === null ? null : keyOf(posted, mediaType);
      if (mediaType === null || key === null) return false;
      if (posted.arrival.minCommits.length > 0) return giveAfter(posted, mediaType, key);
      const found = answers.find(key);
      return found instanceof Promise
        ? found.then((answer) => give(posted, mediaType, answer))
        : give(posted, mediaType, found);
    },
    async make(posted, operation, params) {
      const mediaType = mediaTypeOf(posted.request.headers.accept);
      const ran = mediaType === null ? null : await run(execution, operation, params);
      if (mediaType === null || ran === null) return false;
      if (operation.frames.isUsed) {
        posted.response.setHeader(REQUEST_ID_HEADER, posted.arrival.requestId);
        sendFrameAnswer(posted.request, posted.response, ran.result, mediaType);
        return true;
      }
      const isKeepable = mayKeep(ran);
      const sent = Buffer.from(isKeepable ? textOf(ran) : JSON.stringify(ran.result));
      const key = isKeepable ? keyOf(posted, mediaType) : null;
      if (key !== null && answers.admits(key)) answers.put(key, answerOf(ran, sent));
      send(posted, mediaType, sent, ran.isQuery ? 'miss' : null);
      return true;
    },
  };
}

function send(
  { response, arrival }: Posted,
  mediaType: string,
  body: Buffer,
  cache: 'hit' | 'miss' | null,
): void {
  // At once: each header set by itself is kept in a table first.
  response.writeHead(200, {
    [REQUEST_ID_HEADER]: arrival.requestId,
    'content-type': `${mediaType}; charset=utf-8`,
    'content-length': body.length,
    ...(cache === null ? NOTHING : CACHE_HEADERS[cache]),
  });
  response.end(body);
}

const NOTHING = {};
const CACHE_HEADERS = { hit: { 'x-cache': 'hit' }, miss: { 'x-cache': 'miss' } };

/** An operation that was carried out. */
interface Ran {
  readonly args: ExecutionArgs;
  readonly result: ExecutionResult;
  readonly isQuery: boolean;
}

/** Null: nothing was done, because there is more to it than an operation with one answer. */
async function run(
  execution: AnswersOptions['execution'],
  operation: Operation,
  params: OperationParams,
): Promise<Ran | null> {
  if (!isPlain(params)) return null;
  const enveloped = execution.getEnveloped({ operation, params });
  const document = parseWith(enveloped.parse, params.query);
  if (document === null || enveloped.validate(enveloped.schema, document).length > 0) return null;
  const kind = getOperationAST(document, params.operationName)?.operation;
  if (kind === undefined || kind === 'subscription') return null;
  const args: ExecutionArgs = {
    schema: enveloped.schema,
    document,
    contextValue: await enveloped.contextFactory(),
    // Checked by GraphQL against the operation's own declarations.
    variableValues: (params.variables ?? {}) as Record<string, unknown>,
    operationName: params.operationName ?? null,
  };
  const result: ExecutionResult = await enveloped.execute(args);
  return { args, result, isQuery: kind === 'query' };
}

function parseWith(parse: (source: string) => DocumentNode, source: string): DocumentNode | null {
  try {
    return parse(source);
  } catch {
    // Where errors are made into answers it is parsed again: the engine remembers the error.
    return null;
  }
}

const MEMBERS: ReadonlySet<string> = new Set(['query', 'variables', 'operationName', 'extensions']);

/** Whether every parameter is known and of its type. */
function isPlain(params: OperationParams): params is OperationParams & { readonly query: string } {
  const { query, variables, operationName, extensions } = params;
  return (
    typeof query === 'string' &&
    isMap(variables ?? {}) &&
    isMap(extensions ?? {}) &&
    typeof (operationName ?? '') === 'string' &&
    Object.keys(params).every((member) => MEMBERS.has(member))
  );
}

function isMap(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mayKeep({ args, result, isQuery }: Ran): boolean {
  if (!isQuery || result.errors !== undefined || contextOf(args).reads.basis === null) return false;
  return isKept(args.document, args.operationName);
}

/** An answer that may be kept, as it is sent: when it is given again its end is another one. */
function textOf({ args, result }: Ran): string {
  const { hits, misses } = contextOf(args).reads;
  return `{"data":${JSON.stringify(result.data)}${tailOf(result, { hits, misses })}`;
}

function tailOf({ extensions }: ExecutionResult, cache: object): string {
  return `,"extensions":${JSON.stringify({ ...extensions, cache })}}`;
}

/** @throws AppError never: what is answered was found to be affordable before */
function answerOf({ args, result }: Ran, sent: Buffer): Answer {
  const { reads } = contextOf(args);
  const { hits, misses } = reads;
  const sentTailBytes = Buffer.byteLength(tailOf(result, { hits, misses }));
  // Given again each read is a hit. Made now: the answer is not to keep hold of the result.
  const tail = tailOf(result, { hits: hits + misses, misses: 0 });
  let body: Buffer | null = null;
  return {
    bytes: sent.length,
    body() {
      body ??= Buffer.concat([sent.subarray(0, -sentTailBytes), Buffer.from(tail)]);
      return body;
    },
    basis: reads.basis ?? [],
    expiresAtMs: reads.expiresAtMs,
    operationName: operationNameOf(args),
    reads: hits + misses,
    cost: assertAffordable(args),
  };
}

function contextOf({ contextValue }: ExecutionArgs): Context {
  // Made by createContext.
  return contextValue as Context;
}

/** By document, which the engine parses once. */
const keptDocuments = new WeakMap<DocumentNode, Map<string, boolean>>();

/** Whether all root fields of an operation are in KEPT_FIELDS. */
function isKept(document: DocumentNode, operationName: string | null | undefined): boolean {
  const known = keptDocuments.get(document) ?? new Map<string, boolean>();
  keptDocuments.set(document, known);
  const name = operationName ?? '';
  let answer = known.get(name);
  if (answer === undefined) {
    const definition = getOperationAST(document, operationName);
    const fragments = new Map(
      document.definitions.flatMap((each) =>
        each.kind === 'FragmentDefinition' ? [[each.name.value, each]] : [],
      ),
    );
    answer = definition ? areKept(definition.selectionSet, fragments) : false;
    known.set(name, answer);
  }
  return answer;
}

function areKept(
  { selections }: SelectionSetNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
): boolean {
  return selections.every((selection) => {
    if (selection.kind === 'Field') return KEPT_FIELDS.has(selection.name.value);
    // Validated: the fragment is there, and no fragment spreads itself.
    const below =
      selection.kind === 'InlineFragment' ? selection : fragments.get(selection.name.value);
    return below !== undefined && areKept(below.selectionSet, fragments);
  });
}

/** The last request of a connection, and its key. */
interface LastKey {
  readonly body: Buffer;
  readonly mediaType: string;
  readonly actor: Actor;
  readonly key: string;
}

/** What a connection asks for again and again is hashed once; it goes with its connection. */
const lastKeys = new WeakMap<Socket, LastKey>();
/** A longer body is hashed each time: that much each open connection may hold. */
const REMEMBERED_BYTES_MAX = 4096;

/** What has to be the same for an answer to be the same; null: this one is never kept. */
function keyOf({ request, body, arrival }: Posted, mediaType: string): string | null {
  const { actor, idempotencyKey } = arrival;
  if (idempotencyKey !== null) return null;
  const { socket } = request;
  const last = lastKeys.get(socket);
  const isSame = last !== undefined && last.actor === actor && last.mediaType === mediaType;
  if (isSame && last.body.equals(body)) return last.key;
  const key = `${hash('sha256', body, 'base64')} ${mediaType} ${scopeOf(actor)}`;
  if (body.length <= REMEMBERED_BYTES_MAX) lastKeys.set(socket, { body, mediaType, actor, key });
  return key;
}

const scopes = new WeakMap<Actor, string>();

/**
 * What an actor may see: two with the same permissions and accounts get the same answers. A key that
 * is changed is another actor.
 */
function scopeOf(actor: Actor): string {
  let scope = scopes.get(actor);
  if (scope === undefined) {
    const { permissions, accounts } = actor;
    const text = JSON.stringify([[...permissions].sort(), accounts?.toSorted() ?? null]);
    scope = hash('sha256', text, 'base64');
    scopes.set(actor, scope);
  }
  return scope;
}

const JSON_TYPE = 'application/json';
/** In the order in which yoga looks for them: the last one that matches is the answer's. */
const MEDIA_TYPES = ['application/graphql-response+json', JSON_TYPE];
const ACCEPT_LENGTH_MAX = 500;

/** As which kind of JSON a client wants its answer, as yoga would decide; null: as none. */
function mediaTypeOf(accept: string | undefined): string | null {
  if (accept === undefined || accept === '*/*' || accept === JSON_TYPE) return JSON_TYPE;
  if (accept.length > ACCEPT_LENGTH_MAX) return null;
  let found: string | null = null;
  for (const part of accept.toLowerCase().replace(/\s/g, '').split(',').reverse()) {
    const [wanted = '', ...parameters] = part.split(';');
    const charset = parameters.find((parameter) => parameter.includes('charset='));
    if (charset !== undefined && charset !== 'charset=utf-8') continue;
    found = MEDIA_TYPES.findLast((type) => isMatch(type, wanted)) ?? found;
  }
  return found;
}

function isMatch(type: string, wanted: string): boolean {
  const [kind, detail] = wanted.split('/');
  const [ownKind, ownDetail] = type.split('/');
  return (kind === '*' || kind === ownKind) && (detail === '*' || detail === ownDetail);
}
