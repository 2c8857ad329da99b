import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'graphql-ws';
import { FatalError } from '../../errors.ts';

/** An answer of the server that is an error; the fields are those of its extensions. */
export class RequestError extends Error {
  readonly code: string;
  readonly isRetryable: boolean;
  readonly retryAfterMs: number | null;
  readonly executed: 'NO' | 'YES' | 'UNKNOWN';
  readonly requestId: string | null;

  constructor(message: string, extensions: Readonly<Record<string, unknown>>) {
    super(message);
    this.name = 'RequestError';
    const { code, retryable, retryAfterMs, executed, requestId } = extensions;
    this.code = typeof code === 'string' ? code : 'UNKNOWN';
    this.isRetryable = retryable === true;
    this.retryAfterMs = typeof retryAfterMs === 'number' ? retryAfterMs : null;
    this.executed = executed === 'NO' || executed === 'YES' ? executed : 'UNKNOWN';
    this.requestId = typeof requestId === 'string' ? requestId : null;
  }
}

export interface RequestOptions {
  /** Of a mutation: every attempt carries it, so that the work is done once. */
  readonly idempotencyKey?: string;
}

export interface Client {
  /**
   * The data of an answer without errors. A lost connection, a late answer and retryable errors
   * are tried again with the same key until the server is back.
   *
   * @throws RequestError the server's first error that is not retryable
   * @throws FatalError nothing answered for UNAVAILABLE_MS_MAX
   */
  request<Data>(document: string, variables: object, options?: RequestOptions): Promise<Data>;
  /**
   * The events of a subscription with one root field, from now on and without end: whatever ends
   * the stream, it is begun again after the last cursor.
   */
  follow<Event extends { readonly cursor: string }>(
    document: string,
    variables: object,
    onEvent: (event: Event) => void,
  ): Promise<void>;
  /** Median of the last answers in milliseconds, waiting for retries not included; null: none. */
  medianMs(): number | null;
  /** Whether the last try of a request failed and another one is to come. */
  isAway(): boolean;
}

export interface ClientOptions {
  /** Of the server, with or without the path `/graphql`. */
  readonly url: string;
  readonly key: string;
  /** Ends every request and stream: they reject with its reason, `follow` returns. */
  readonly signal: AbortSignal;
}

const ANSWER_MS_MAX = 15_000;
const UNAVAILABLE_MS_MAX = 600_000;
const RETRY_BASE_MS = 100;
const RETRY_CAP_MS = 2_000;
const LATENCIES_KEPT = 512;

/** A client of the public API over HTTP and graphql-transport-ws. */
export function createApiClient(options: ClientOptions): Client {
  const endpoint = new URL('/graphql', options.url);
  const latencies: number[] = [];
  let isAway = false;
  const authorization = `Bearer ${options.key}`;

  async function attempt(body: string, key: string | undefined): Promise<unknown> {
    const startedAt = performance.now();
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: {
        authorization,
        'content-type': 'application/json',
        accept: 'application/graphql-response+json, application/json',
        ...(key === undefined ? {} : { 'idempotency-key': key }),
      },
      body,
      signal: AbortSignal.any([options.signal, AbortSignal.timeout(ANSWER_MS_MAX)]),
    });
    const answer = readAnswer(await response.text(), response.status);
    latencies.push(performance.now() - startedAt);
    if (latencies.length > LATENCIES_KEPT) {
      latencies.shift();
    }
    return answer;
  }

  return {
    async request<Data>(
      document: string,
      variables: object,
      { idempotencyKey }: RequestOptions = {},
    ) {
      const body = JSON.stringify({ query: document, variables });
      const giveUpAt = Date.now() + UNAVAILABLE_MS_MAX;
      for (let tries = 0; ; tries += 1) {
        try {
          // The caller states the shape of what its document selects.
          const data = (await attempt(body, idempotencyKey)) as Data;
          isAway = false;
          return data;
        } catch (error) {
          options.signal.throwIfAborted();
          const waitMs = waitBefore(error, tries);
          isAway = true;
          if (Date.now() + waitMs > giveUpAt) {
            const minutes = UNAVAILABLE_MS_MAX / 60_000;
            throw new FatalError(`The server has not answered for ${minutes} minutes.`, {
              cause: error,
            });
          }
          await sleep(waitMs, undefined, { signal: options.signal });
        }
      }
    },
    follow: (document, variables, onEvent) =>
      follow({ endpoint, authorization, signal: options.signal }, document, variables, onEvent),
    isAway: () => isAway,
    medianMs() {
      const sorted = latencies.toSorted((a, b) => a - b);
      return sorted[Math.floor(sorted.length / 2)] ?? null;
    },
  };
}

/** A key for one mutation, whatever happens on its way. */
export function createIdempotencyKey(): string {
  return `demo-${randomUUID()}`;
}

/** How long to wait before the next try; throws the error when another try cannot help. */
function waitBefore(error: unknown, tries: number): number {
  if (error instanceof RequestError && !error.isRetryable) {
    throw error;
  }
  const asked = error instanceof RequestError ? error.retryAfterMs : null;
  return Math.max(asked ?? 0, backoffMs(tries));
}

/** Full jitter: clients that were cut off together do not come back together. */
function backoffMs(tries: number): number {
  return Math.random() * Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** Math.min(tries, 10));
}

function readAnswer(text: string, status: number): unknown {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    // Not our server's word: a proxy, or a server that is going away. It is worth another try.
    throw new RequestError(`HTTP ${status} without JSON`, { retryable: status >= 500 });
  }
  const { data, errors } = asRecord(answer);
  if (Array.isArray(errors) && errors.length > 0) {
    const { message, extensions } = asRecord(errors[0]);
    throw new RequestError(String(message), asRecord(extensions));
  }
  if (data === undefined || data === null) {
    throw new RequestError(`HTTP ${status} without data`, { retryable: status >= 500 });
  }
  return data;
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  // The members stay unknown; only that there are members is claimed.
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

async function follow<Event extends { readonly cursor: string }>(
  server: { readonly endpoint: URL; readonly authorization: string; readonly signal: AbortSignal },
  document: string,
  variables: object,
  onEvent: (event: Event) => void,
): Promise<void> {
  const url = new URL(server.endpoint);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = createClient({
    url: url.href,
    connectionParams: { authorization: server.authorization },
    // Every reconnection goes through the loop below, which knows the cursor.
    retryAttempts: 0,
  });
  const dispose = async () => {
    try {
      await socket.dispose();
    } catch {
      // It was still connecting, and could not: there is nothing left to close.
    }
  };
  server.signal.addEventListener('abort', dispose);
  let after: string | undefined;
  let failures = 0;
  while (!server.signal.aborted) {
    try {
      const payload = { query: document, variables: { ...variables, after } };
      for await (const { data } of socket.iterate<Record<string, Event>>(payload)) {
        const event = data && Object.values(data)[0];
        if (event) {
          failures = 0;
          after = event.cursor;
          onEvent(event);
        }
      }
    } catch {
      // A closed socket and a refused subscription end alike: it is tried again below.
    }
    failures += 1;
    await sleep(backoffMs(failures), undefined, { signal: server.signal }).catch(() => undefined);
  }
  server.signal.removeEventListener('abort', dispose);
}
