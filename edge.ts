import { type ExecutionResult, GraphQLError } from 'graphql';
import type { Logger } from 'pino';
import { AppError, ERROR_CODES, type ErrorCode } from './errors.ts';

/** The extensions that every error carries, over HTTP and WebSocket alike. */
export interface ErrorExtensions {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  readonly executed: 'NO' | 'YES' | 'UNKNOWN';
  readonly requestId: string;
  readonly [detail: string]: unknown;
}

/**
 * What a client may see of an error. Ours are shown, those of the GraphQL document are named, and
 * anything else is a bug: logged with its request id and masked. An error that went through here
 * before is left as it is.
 */
export function toPublicError(error: unknown, requestId: string, log: Logger): GraphQLError {
  if (isPublic(error)) return error;
  const source = sourceOf(error);
  const graphqlError = error instanceof GraphQLError ? error : null;
  const position = graphqlError === null ? {} : positionOf(graphqlError);
  if (source instanceof AppError) {
    return new GraphQLError(source.message, {
      ...position,
      extensions: extensionsOf(source, requestId),
    });
  }
  if (source === null && graphqlError !== null) {
    const { code, path } = classify(graphqlError);
    return new GraphQLError(graphqlError.message, {
      ...position,
      extensions: {
        ...httpOf(graphqlError),
        code,
        retryable: false,
        executed: 'NO',
        requestId,
        ...(path === null ? {} : { path }),
      },
    });
  }
  log.error({ err: source ?? error, requestId }, 'unexpected error');
  return new GraphQLError(`Something went wrong here; the log has it as request ${requestId}.`, {
    ...position,
    extensions: { code: 'INTERNAL_SERVER_ERROR', retryable: false, executed: 'NO', requestId },
  });
}

/** Errors of one answer: where each row of a page fails, the first ones say it all. */
export const ERRORS_MAX = 100;

/** The result with its errors as a client may see them. */
export function toPublicResult<Result extends ExecutionResult>(
  result: Result,
  requestId: string,
  log: Logger,
): Result {
  if (result.errors === undefined || result.errors.length === 0) return result;
  const errors = result.errors.slice(0, ERRORS_MAX);
  return { ...result, errors: errors.map((error) => toPublicError(error, requestId, log)) };
}

/** The error of our code behind what GraphQL made of it; null where GraphQL itself complains. */
export function sourceOf(error: unknown): unknown {
  let source: unknown = error;
  while (source instanceof GraphQLError) {
    if (source.originalError === undefined) return null;
    source = source.originalError;
  }
  return source;
}

function extensionsOf(error: AppError, requestId: string): ErrorExtensions {
  return {
    ...error.details,
    code: error.code,
    retryable: error.isRetryable,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    executed: error.executed,
    requestId,
    ...(error.inputPath === undefined ? {} : { path: error.inputPath }),
  };
}

function isPublic(error: unknown): error is GraphQLError {
  if (!(error instanceof GraphQLError) || error.originalError !== undefined) return false;
  const { code, requestId } = error.extensions;
  return typeof requestId === 'string' && typeof code === 'string' && code in ERROR_CODES;
}

function positionOf(error: GraphQLError) {
  return {
    ...(error.nodes === undefined ? {} : { nodes: error.nodes }),
    ...(error.source === undefined ? {} : { source: error.source }),
    ...(error.positions === undefined ? {} : { positions: error.positions }),
    ...(error.path === undefined ? {} : { path: error.path }),
  };
}

// yoga takes the HTTP status from here and leaves it out of the answer; graphql-ws would not.
function httpOf(error: GraphQLError): Pick<GraphQLError['extensions'], 'http'> {
  return error.extensions.http === undefined ? {} : { http: error.extensions.http };
}

const VARIABLE =
  /^(?:Variable "\$(\w+)"|Argument "[\w.]+\((\w+):\)") has invalid value(?: at ([^:]+))?: /;

/** Errors of the document and its variables, which GraphQL tells apart only by their text. */
function classify(error: GraphQLError): {
  readonly code: ErrorCode;
  readonly path: readonly string[] | null;
} {
  if (error.message.startsWith('Syntax Error')) return { code: 'GRAPHQL_PARSE_FAILED', path: null };
  const [, variable, argument, below] = VARIABLE.exec(error.message) ?? [];
  const name = variable ?? argument;
  if (name !== undefined) {
    return { code: 'BAD_INPUT', path: [name, ...(below?.match(/\w+/g) ?? [])] };
  }
  if (error.extensions.code === 'QUERY_TOO_EXPENSIVE') {
    return { code: 'QUERY_TOO_EXPENSIVE', path: null };
  }
  // BAD_REQUEST is yoga's word for parameters of the wrong type.
  const isNamed = error.extensions.code === 'BAD_INPUT' || error.extensions.code === 'BAD_REQUEST';
  const isBadInput = isNamed || error.path !== undefined;
  return { code: isBadInput ? 'BAD_INPUT' : 'GRAPHQL_VALIDATION_FAILED', path: null };
}
