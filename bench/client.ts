import { Agent, type IncomingMessage, request as send } from 'node:http';

/** A request as it is sent; made before the clock runs, so that its making is not measured. */
export type Body = Buffer;

export interface Client {
  /** The text of the answer. @throws unless it has status 200 */
  post(body: Body): Promise<string>;
  /** Its data. @throws when there are errors */
  query<Data>(query: string, variables?: object): Promise<Data>;
  close(): void;
}

export function makeBody(query: string, variables: object): Body {
  return Buffer.from(JSON.stringify({ query, variables }));
}

/** GraphQL over HTTP; each connection is used again. */
export function createClient(url: string, key: string): Client {
  const agent = new Agent({ keepAlive: true });
  const options = {
    agent,
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
  };

  function post(body: Body): Promise<string> {
    return new Promise((resolve, reject) => {
      const headers = { ...options.headers, 'content-length': body.length };
      const sent = send(`${url}/graphql`, { ...options, headers }, (response) => {
        readText(response).then((text) => {
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`status ${response.statusCode}: ${text.slice(0, 500)}`));
        }, reject);
      });
      sent.once('error', (error: NodeJS.ErrnoException) => {
        // The server has closed it while it was idle, so nothing was read from it.
        if (sent.reusedSocket && error.code === 'ECONNRESET') post(body).then(resolve, reject);
        else reject(error);
      });
      sent.end(body);
    });
  }

  return {
    post,
    async query<Data>(query: string, variables: object = {}) {
      const text = await post(makeBody(query, variables));
      const { data, errors } = JSON.parse(text);
      if (errors !== undefined) throw new Error(text.slice(0, 500));
      return data as Data;
    },
    close: () => agent.destroy(),
  };
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
