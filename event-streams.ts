import type { ServerResponse } from 'node:http';
import type { ExecutionResult, GraphQLError } from 'graphql';
import type { Actor } from './access.ts';
import type { Authentication } from './authentication.ts';
import { AppError } from './errors.ts';
import type { RateLimiter } from './rate-limit.ts';

/** A subscription over SSE. */
interface EventStream {
  readonly actor: Actor;
  readonly response: ServerResponse;
  /** Ends it; with an AppError its client is told. */
  readonly ending: AbortController;
}

/** The subscriptions over SSE of a server. */
export interface EventStreams {
  /**
   * Counts it as a socket, which it has for itself, and ends it with its key.
   *
   * @throws AppError RATE_LIMITED, OVERLOADED where there are too many
   */
  hold(stream: EventStream): void;
}

/** A client that does not read is cut off after this long. */
const CLOSE_WAIT_MS = 2000;

export function createEventStreams({
  authentication,
  rateLimiter,
}: {
  readonly authentication: Authentication;
  readonly rateLimiter: RateLimiter;
}): EventStreams {
  const streams = new Set<EventStream>();

  authentication.onEnded(() => {
    const ended = [...streams].filter(({ actor }) => !authentication.isCurrent(actor));
    for (const { ending, response } of ended) {
      ending.abort(new AppError('UNAUTHENTICATED', 'The key was revoked or has expired.'));
      setTimeout(() => response.destroy(), CLOSE_WAIT_MS).unref();
    }
  });

  return {
    hold(stream) {
      const { actor, response } = stream;
      // Nobody would give back what it took.
      if (response.closed) return;
      response.once('close', rateLimiter.ownSocket(actor));
      response.once('close', rateLimiter.openSocket());
      streams.add(stream);
      response.once('close', () => streams.delete(stream));
    },
  };
}

/**
 * Over SSE an error of a stream would break the connection, and its client would not learn why: it
 * becomes the last event.
 */
export function withLastError(
  events: AsyncIterable<ExecutionResult>,
  toError: (error: unknown) => GraphQLError,
): AsyncIterableIterator<ExecutionResult> {
  const source = events[Symbol.asyncIterator]();
  let hasFailed = false;
  const done = { done: true, value: undefined } as const;
  return {
    async next() {
      if (hasFailed) return done;
      try {
        return await source.next();
      } catch (error) {
        hasFailed = true;
        return { done: false, value: { errors: [toError(error)] } };
      }
    },
    // Not a generator's, which would wait for the event that it waits for itself.
    return: async () => (await source.return?.()) ?? done,
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/**
 * The result of an event with its place as the event's id, which a browser sends as Last-Event-ID
 * when it connects again. Yoga writes the text of a result as the last line of its event.
 */
export function withEventId(result: ExecutionResult, cursor: string | null): ExecutionResult {
  if (cursor === null) return result;
  const stringify = (shown: ExecutionResult) => `${JSON.stringify(shown)}\nid: ${cursor}`;
  return { ...result, stringify } as ExecutionResult;
}
