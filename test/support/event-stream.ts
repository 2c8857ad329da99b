import type { TestServer } from './server.ts';

/** A subscription over SSE, as a browser has it. */
export interface TestEventStream {
  readonly status: number;
  /** What came until it contains `text`, or until the end. */
  read(text: string): Promise<string>;
  close(): void;
}

export interface EventStreamOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly variables?: object;
}

export async function openEventStream(
  server: TestServer,
  query: string,
  key: string = server.key,
  { headers = {}, variables = {} }: EventStreamOptions = {},
): Promise<TestEventStream> {
  const gone = new AbortController();
  const response = await fetch(`${server.url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'text/event-stream',
      authorization: `Bearer ${key}`,
      ...headers,
    },
    body: JSON.stringify({ query, variables }),
    signal: gone.signal,
  });
  // An iteration that is left would end the stream.
  const reader = response.body?.getReader();
  let received = '';
  return {
    status: response.status,
    async read(text) {
      while (reader !== undefined && !received.includes(text)) {
        const { done, value } = await reader.read();
        if (done) break;
        received += Buffer.from(value).toString();
      }
      return received;
    },
    close: () => gone.abort(),
  };
}
