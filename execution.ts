import { hash as digest } from 'node:crypto';
import { useEngine } from '@envelop/core';
import {
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLSchema,
  parse,
  specifiedRules,
  subscribe,
  validate,
} from 'graphql';
import { createYoga, type GraphQLParams, type Plugin } from 'graphql-yoga';
import type { Logger } from 'pino';
import { type Actor, restrict } from './access.ts';
import { useAdmission } from './admission.ts';
import { executeFast } from './coercion.ts';
import type { Context, Services } from './context.ts';
import { canonicalJson } from './datasources/canonical.ts';
import { NO_RECORDER } from './datasources/change-recorder.ts';
import { cacheReads } from './datasources/cached-reads.ts';
import { createDatasources, type Datasources } from './datasources/datasources.ts';
import type { IdempotencyKey } from './datasources/idempotency.ts';
import type { Call, Lane } from './datasources/lane.ts';
import { MissingPartitionError } from './datasources/prediction.ts';
import { createSnapshots } from './datasources/shared-snapshot.ts';
import type { UnitRequest, UnitsOfWork } from './datasources/unit-of-work.ts';
import type { RateLimiter } from './rate-limit.ts';
import { isShared, withEventId, withLastError } from './event-streams.ts';
import { sourceOf, toPublicError, toPublicResult } from './edge.ts';
import { AppError } from './errors.ts';
import { useFrameAnswers } from './frame-answer.ts';
import type { AnswerFrames } from './frame-memory.ts';
import { useFreshness } from './freshness.ts';
import { boundFilters, boundLists, createBudget, limitRule, TOKENS_MAX } from './limits.ts';
import type { MinCommit } from './min-commit.ts';
import { executeRows } from './row-executor.ts';
import type { Outlet } from './outlet.ts';
import { type SharedOperation, sharingOf } from './shared-execution.ts';
import { toStored } from './stored-answer.ts';
import { createGroups } from './subscriptions/sharing.ts';

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,200}$/;

/** What the transport knows of an operation before GraphQL does. */
export interface Operation {
  readonly requestId: string;
  readonly actor: Actor;
  /** What the client asks for; null: the server's own deadlines hold. */
  readonly deadlineMs: number | null;
  /** From the header; the request's extensions come second. */
  readonly idempotencyKey: string | null;
  /** Named by the header; those of the request's extensions are added. */
  readonly minCommits: readonly MinCommit[];
  /** From the header, over SSE; null: a stream begins where its arguments say. */
  readonly lastEventId: string | null;
  /** Aborted when the client has gone; a mutation goes on all the same. */
  readonly signal?: AbortSignal;
  /**
   * Called before a subscription begins: it may go on for long.
   *
   * @throws AppError to refuse it
   */
  onStream?(): void;
  /** Of a subscription: where its events go. Left out: it is told alone. */
  openOutlet?(): Outlet;
  readonly frames: AnswerFrames;
}

export interface OperationParams {
  readonly query?: string;
  readonly operationName?: string | null;
  readonly variables?: unknown;
  readonly extensions?: Readonly<Record<string, unknown>> | null;
}

/** What yoga and graphql-ws hand through: the operation and, once read, its parameters. */
export interface OperationContext {
  readonly operation: Operation;
  /** What the transport has read; yoga does not read a body again. */
  readonly given?: OperationParams;
  readonly params?: OperationParams;
}

export interface ExecutionOptions {
  readonly schema: GraphQLSchema;
  readonly services: Services;
  readonly units: UnitsOfWork;
  readonly rateLimiter: RateLimiter;
  readonly isExplorerOn: boolean;
  readonly log: Logger;
}

/** GraphQL over any transport: parse, limits, execution, units of work and the one error edge. */
export function createExecution(options: ExecutionOptions) {
  const { schema, services, units, log } = options;
  boundLists(schema);
  boundFilters(schema);
  const groups = createGroups();
  const givenParams: Plugin<OperationContext> = {
    onRequestParse: ({ serverContext, setRequestParser }) => {
      const { given } = serverContext as unknown as OperationContext;
      if (given !== undefined) setRequestParser(() => given as GraphQLParams);
    },
  };
  const unitOfWork: Plugin<OperationContext> = {
    onExecute: ({ args, setExecuteFn }) => {
      if (rootOf(args) !== 'mutation') return;
      setExecuteFn((executionArgs: ExecutionArgs) => runMutation(executionArgs, units, log));
    },
  };
  // Every result passes here, whatever the transport: nothing leaves unmasked.
  const errorEdge: Plugin<OperationContext> = {
    onExecute: ({ args }) => ({
      onExecuteDone: ({ result, setResult }) => {
        const { requestId } = args.contextValue.operation;
        if (isResult(result)) setResult(toPublicResult(result, requestId, log));
      },
    }),
    onSubscribe: ({ args }) => {
      const { requestId } = args.contextValue.operation;
      // Made by createContext, for this operation alone.
      const context = args.contextValue as unknown as Context & OperationContext;
      Object.assign(context, readingPerEvent(context));
      const isOverSse = context.operation.onStream !== undefined;
      const outlet = share({ args, context, groups, log });
      return {
        onSubscribeResult: ({ result, setResult }) => {
          if (isResult(result)) setResult(toPublicResult(result, requestId, log));
          else if (Symbol.asyncIterator in result && isOverSse) {
            const events = outlet === null ? result : outlet.around(result);
            setResult(withLastError(events, (error) => toPublicError(error, requestId, log)));
          }
          return {
            onNext: ({ result: next, setResult: setNext }) => {
              // It was counted and made public for all.
              if (isShared(next)) return;
              services.traffic.delivered(1);
              const shown = toPublicResult(next, requestId, log);
              setNext(isOverSse ? withEventId(shown, context.lastEvent.cursor) : shown);
            },
          };
        },
        onSubscribeError: ({ error, setError }) => setError(toPublicError(error, requestId, log)),
      };
    },
    // What is refused before the execution: by yoga, by the parser, by validation.
    onResultProcess: ({ result, setResult, serverContext }) => {
      const { requestId } = (serverContext as unknown as OperationContext).operation;
      if (isResult(result)) setResult(toPublicResult(result, requestId, log));
    },
  };
  return createYoga<OperationContext>({
    schema,
    graphqlEndpoint: '/graphql',
    graphiql: false,
    landingPage: false,
    cors: false,
    multipart: false,
    batching: false,
    maskedErrors: false,
    logging: false,
    // The transport reads and bounds bodies: here each would pass through two more streams.
    maxRequestBodySize: false,
    context: (initial) => createContext(initial, services),
    plugins: [
      useEngine({
        parse: (source: string) => parse(source, { maxTokens: TOKENS_MAX }),
        validate: (target: GraphQLSchema, document: Parameters<typeof validate>[1]) =>
          validate(target, document, [...specifiedRules, limitRule], { maxErrors: 10 }),
        execute: executeRows,
        subscribe,
      }),
      givenParams,
      useAdmission(options),
      unitOfWork,
      errorEdge,
      useFrameAnswers(),
      useFreshness(log),
    ],
  });
}

function createContext(initial: OperationContext, services: Services): Context & OperationContext {
  const { operation, params } = initial;
  const { requestId, actor, deadlineMs, signal } = operation;
  const operationName = params?.operationName ?? null;
  const startedAt = performance.now();
  const call: Call = {
    requestId,
    operationName,
    deadlineAt: startedAt + (deadlineMs ?? services.deadlineMs),
    isServerDeadline: deadlineMs === null,
    ...(signal === undefined ? {} : { signal }),
  };
  const slow = { ...call, deadlineAt: startedAt + (deadlineMs ?? services.analyticsDeadlineMs) };
  const { database, caches } = services;
  const reads = caches.results.open();
  const cachedFrom = (lane: Lane, laneCall: Call) =>
    restrict(cacheReads(datasourcesOf(lane, laneCall), caches.results, reads, laneCall), actor);
  return {
    operation,
    params,
    requestId,
    operationName,
    actor,
    call,
    datasources: cachedFrom(database.interactive, call),
    analytics: cachedFrom(database.analytics, slow),
    budget: createBudget(call),
    frames: operation.frames,
    reads,
    lastEventId: operation.lastEventId,
    lastEvent: { cursor: null },
    sharing: null,
    unit: null,
    fields: 0,
    services,
  };
}

function datasourcesOf(lane: Lane, call: Call): Datasources {
  return createDatasources(lane.sql(call), NO_RECORDER, createSnapshots(lane, call));
}

/**
 * A subscription has no end, but each of its reads has: the deadline is that of one event. It reads
 * past the cache, because what it tells of has just changed.
 */
function readingPerEvent(context: Context & OperationContext) {
  const { actor, services } = context;
  const deadlineMs = context.operation.deadlineMs ?? services.deadlineMs;
  const call: Call = {
    ...context.call,
    get deadlineAt() {
      return performance.now() + deadlineMs;
    },
  };
  const datasources = datasourcesOf(services.database.interactive, call);
  return { call, datasources: restrict(datasources, actor) };
}

/** Where the events go; null: it is told alone. */
function share(operation: Omit<SharedOperation, 'outlet' | 'openContext'>): Outlet | null {
  const { context } = operation;
  const outlet = context.operation.openOutlet?.() ?? null;
  if (outlet === null) return null;
  const openContext = () => contextOfAll(context);
  Object.assign(context, { sharing: sharingOf({ ...operation, outlet, openContext }) });
  return outlet;
}

/** For the events of a group: it outlives each of its members, and those are asked for one by one. */
function contextOfAll(context: Context & OperationContext): Context {
  const { signal: _signal, ...call } = context.call;
  const { services, actor } = context;
  const lasting = { ...context, call };
  const reading = readingPerEvent(lasting);
  return {
    ...lasting,
    ...reading,
    analytics: restrict(datasourcesOf(services.database.analytics, reading.call), actor),
    budget: createBudget(reading.call),
    lastEventId: null,
    lastEvent: { cursor: null },
    sharing: null,
    services: { ...services, isCurrent: () => true },
  };
}

async function runMutation(
  args: ExecutionArgs,
  units: UnitsOfWork,
  log: Logger,
): Promise<ExecutionResult> {
  // Made by createContext.
  const context = args.contextValue as Context & OperationContext;
  const { actor, requestId, operation } = context;
  try {
    // A client that has gone may have sent what it cannot see the end of: it is carried out.
    const { signal: _signal, ...call } = context.call;
    const request: UnitRequest = {
      call,
      actor: actor.name,
      operationName: args.operationName ?? nameOf(args),
      idempotency: idempotencyOf(operation, context.params, actor),
    };
    const fields = definitionOf(args)?.selectionSet.selections.length ?? 0;
    const outcome = await units.run(request, async (datasources, unit) => {
      const contextValue: Context = {
        ...context,
        call,
        datasources: restrict(datasources, actor),
        budget: createBudget(call),
        unit,
        fields,
      };
      const result = await executeFast({ ...args, contextValue });
      if (!isResult(result)) throw new Error('a mutation gave more than one result');
      const serialize = () => toStored(args, result);
      return { response: result, failure: failureOf(result), serialize };
    });
    switch (outcome.kind) {
      case 'committed':
        return { ...outcome.response, extensions: { commit: outcome.commits } };
      case 'refused':
        return outcome.response.errors === undefined
          ? { ...outcome.response, extensions: { commit: [] } }
          : { ...outcome.response, data: null };
      case 'replayed':
        return {
          data: JSON.parse(outcome.answer.response),
          extensions: {
            commit: outcome.answer.commits,
            replayed: true,
            ...(outcome.answer.isShortened ? { shortened: true } : {}),
          },
        };
    }
  } catch (error) {
    return { data: null, errors: [toPublicError(error, requestId, log)] };
  }
}

/** Why this answer may not be committed; what makes the unit run again comes first. */
function failureOf(result: ExecutionResult): unknown {
  const sources = (result.errors ?? []).map((error) => sourceOf(error) ?? error);
  const repeatable = sources.find(
    (source) =>
      source instanceof MissingPartitionError || (source instanceof AppError && source.isRetryable),
  );
  return repeatable ?? sources[0] ?? null;
}

/** @throws AppError BAD_INPUT for a key that is no printable text of up to 200 characters */
function idempotencyOf(
  operation: Operation,
  params: OperationParams | undefined,
  actor: Actor,
): IdempotencyKey | null {
  const given = operation.idempotencyKey ?? params?.extensions?.idempotencyKey ?? null;
  if (given === null) return null;
  if (typeof given !== 'string' || !IDEMPOTENCY_KEY.test(given)) {
    throw new AppError('BAD_INPUT', 'An idempotency key has 1 to 200 printable characters.', {
      path: ['extensions', 'idempotencyKey'],
    });
  }
  const request = canonicalJson([
    params?.query,
    params?.operationName ?? null,
    params?.variables ?? {},
  ]);
  return { subject: actor.name, key: given, requestHash: digest('sha256', request, 'hex') };
}

function rootOf(args: ExecutionArgs): string | null {
  return definitionOf(args)?.operation ?? null;
}

/** The operation's own name, else its fields: what the log shows an operator. */
function nameOf(args: ExecutionArgs): string | null {
  const definition = definitionOf(args);
  if (definition === null) return null;
  if (definition.name !== undefined) return definition.name.value;
  const fields = definition.selectionSet.selections.flatMap((selection) =>
    selection.kind === 'Field' ? [selection.name.value] : [],
  );
  return fields.join(' ').slice(0, 200);
}

function definitionOf({ document, operationName }: ExecutionArgs) {
  for (const definition of document.definitions) {
    if (definition.kind !== 'OperationDefinition') continue;
    if (!operationName || definition.name?.value === operationName) return definition;
  }
  return null;
}

function isResult(result: unknown): result is ExecutionResult {
  return typeof result === 'object' && result !== null && !(Symbol.asyncIterator in result);
}
