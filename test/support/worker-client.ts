import { Agent, request as send } from 'node:http';
import type { Answer } from './server.ts';

/** One connection, and so one process of those behind a port. */
export interface WorkerClient {
  readonly pid: number;
  request<Data>(
    query: string,
    variables?: object,
    options?: WorkerRequestOptions,
  ): Promise<WorkerAnswer<Data>>;
  close(): void;
}

export interface WorkerRequestOptions {
  /** Of another actor. */
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export type WorkerAnswer<Data> = Pick<Answer<Data>, 'data' | 'errors' | 'extensions'>;

const TRIES_MAX = 200;

/** Opens connections until there is one to each of `count` processes. */
export async function connectToEach(
  url: string,
  key: string,
  count: number,
): Promise<readonly WorkerClient[]> {
  const clients = new Map<number, WorkerClient>();
  for (let tries = 0; clients.size < count; tries += 1) {
    if (tries >= TRIES_MAX) throw new Error(`there are ${clients.size} processes, not ${count}`);
    const client = await open(url, key);
    if (clients.has(client.pid)) client.close();
    else clients.set(client.pid, client);
  }
  return [...clients.values()];
}

async function open(url: string, ownKey: string): Promise<WorkerClient> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const request = async <Data>(
    query: string,
    variables: object = {},
    { key = ownKey, headers = {} }: WorkerRequestOptions = {},
  ): Promise<WorkerAnswer<Data>> => {
    const body = JSON.stringify({ query, variables });
    const text = await post(agent, url, body, { ...headers, authorization: `Bearer ${key}` });
    // The shape of an answer; what is in it is for the test to check.
    const answer = JSON.parse(text) as Partial<WorkerAnswer<Data>>;
    return {
      data: answer.data ?? null,
      errors: answer.errors ?? [],
      extensions: answer.extensions ?? {},
    };
  };
  const { data, errors } = await request<{ health: { node: string } }>('{ health { node } }');
  if (data === null) throw new Error(JSON.stringify(errors));
  const pid = Number(data.health.node.split(':').at(-1));
  return { pid, request, close: () => agent.destroy() };
}

function post(
  agent: Agent,
  url: string,
  body: string,
  headers: Readonly<Record<string, string>>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      agent,
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
    };
    const request = send(`${url}/graphql`, options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(text)).on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}
