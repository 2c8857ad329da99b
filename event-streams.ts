import type { ServerResponse } from 'node:http';
import type { ExecutionResult, GraphQLError } from 'graphql';
import type { Actor } from './access.ts';
import type { Authentication } from './authentication.ts';
import { AppError } from './errors.ts';
import { type Outlet, TOGETHER_BYTES_MAX } from './outlet.ts';
import type { RateLimiter } from './rate-limit.ts';
import type { Frame } from './subscriptions/sharing.ts';

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

/** What is told to several, as events among the subscription's own. */
export function createEventOutlet(response: ServerResponse, ending: AbortController): Outlet {
  const told: Frame[] = [];
  let bytes = 0;
  let wake = () => {};
  let onEmpty = () => {};

  function take(): ExecutionResult | null {
    const frame = told.shift();
    if (frame === undefined) return null;
    bytes -= frame.text.length;
    if (told.length === 0) onEmpty();
    return resultOf(frame);
  }

  return {
    sink: {
      get unsentBytes() {
        return bytes + response.writableLength;
      },
      write(frame) {
        told.push(frame);
        bytes += frame.text.length;
      },
      flush() {
        wake();
        return bytes + response.writableLength <= TOGETHER_BYTES_MAX;
      },
      drained: (signal) =>
        new Promise((resolve, reject) => {
          if (told.length === 0) return resolve();
          const abort = () => reject(signal.reason);
          signal.addEventListener('abort', abort, { once: true });
          onEmpty = () => {
            signal.removeEventListener('abort', abort);
            onEmpty = () => {};
            resolve();
          };
        }),
    },
    around(events) {
      const source = events[Symbol.asyncIterator]();
      let isAsked = false;
      let own: (() => IteratorResult<ExecutionResult>) | null = null;
      /** One promise for all that is told until the subscription has something of its own. */
      const ask = () => {
        isAsked = true;
        const tell = (result: () => IteratorResult<ExecutionResult>) => {
          own = result;
          wake();
        };
        source.next().then(
          (result) => tell(() => result),
          (error: unknown) =>
            tell(() => {
              throw error;
            }),
        );
      };
      return {
        [Symbol.asyncIterator]: () => ({
          async next() {
            for (;;) {
              const value = take();
              if (value !== null) return { done: false, value };
              if (own !== null) {
                const result = own;
                own = null;
                isAsked = false;
                return result();
              }
              if (!isAsked) ask();
              await new Promise<void>((resolve) => {
                wake = resolve;
              });
            }
          },
          return: async () => (await source.return?.()) ?? { done: true, value: undefined },
        }),
      };
    },
    onSlow(error) {
      ending.abort(error);
      setTimeout(() => response.destroy(), CLOSE_WAIT_MS).unref();
    },
  };
}

const shared = new WeakSet<ExecutionResult>();

/** Whether a result was made for several. */
export function isShared(result: ExecutionResult): boolean {
  return shared.has(result);
}

function resultOf({ text, cursor }: Frame): ExecutionResult {
  const result = { stringify: () => `${text}\nid: ${cursor}` } as ExecutionResult;
  shared.add(result);
  return result;
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
