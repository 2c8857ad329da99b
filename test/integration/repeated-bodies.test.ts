import { Agent, request as send } from 'node:http';
import { connect } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { inputOf } from '../support/documents.ts';
import { eventually } from '../support/eventually.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

// What a connection has asked for last is known by its bytes: everything else that makes an answer
// another one has to be looked at all the same.

const PUT = `mutation ($input: PutSettingsInput!) {
  putSettings(input: $input) { settings { key } } }`;
const bodyOf = (key: string) =>
  JSON.stringify({ query: `{ settings(account: "main", keys: ["${key}"]) { value } }` });
const BODY = bodyOf('one');
const OTHER = bodyOf('two');

interface Given {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly cache: unknown;
  readonly text: string;
}

let server: TestServer;
let agent: Agent;

beforeAll(async () => {
  server = await startTestServer({ environment: { CACHE: 'on', OPERATIONS_PER_KEY_MAX: '8' } });
  const items = [
    { key: 'one', value: 1 },
    { key: 'two', value: 2 },
  ];
  await server.data(PUT, inputOf(items));
});

beforeEach(() => {
  agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return () => agent.destroy();
});

afterAll(() => server.stop());

/** Sends bytes over the one connection of this test. */
async function post(body: string, headers: Readonly<Record<string, string>> = {}): Promise<Given> {
  const sent = send(`${server.url}/graphql`, {
    agent,
    method: 'POST',
    headers: {
      authorization: `Bearer ${server.key}`,
      'content-type': 'application/json',
      ...headers,
    },
  });
  sent.end(body);
  const [response] = await once(sent, 'response');
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  const { statusCode: status } = response;
  return {
    status,
    type: response.headers['content-type'],
    cache: response.headers['x-cache'],
    text,
  };
}

/** Asks until the answer is one that is given again. */
async function repeat(
  body: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Given> {
  return eventually(async () => {
    const given = await post(body, headers);
    expect(given.cache).toBe('hit');
    return given;
  });
}

const readValue = ({ text }: Given) => JSON.parse(text).data.settings[0].value;

describe('the same bytes on one connection', () => {
  it('are answered again without a statement', async () => {
    await repeat(BODY);
    server.statements();
    expect(readValue(await post(BODY))).toBe(1);
    expect(server.statements()).toEqual([]);
  });

  it('are refused at once when their key was revoked', async () => {
    const { id, token } = await server.issueKey('BOT', ['main']);
    const headers = { authorization: `Bearer ${token}` };
    await repeat(BODY, headers);
    await server.data('mutation ($id: ID!) { revokeApiKey(id: $id) }', { id });
    expect((await post(BODY, headers)).status).toBe(401);
    expect(readValue(await post(BODY))).toBe(1);
  });

  it('are answered as the key may see it that comes with them', async () => {
    const { token } = await server.issueKey('BOT', ['elsewhere']);
    await repeat(BODY);
    const refused = await post(BODY, { authorization: `Bearer ${token}` });
    expect(refused.text).toContain('FORBIDDEN');
    expect(refused.cache).not.toBe('hit');
    expect((await post(BODY)).cache).toBe('hit');
  });

  it('are answered as the media type that is asked for', async () => {
    const accept = 'application/graphql-response+json';
    await repeat(BODY);
    const other = await post(BODY, { accept });
    expect(other).toMatchObject({ status: 200, cache: 'miss', type: `${accept}; charset=utf-8` });
    expect((await post(BODY)).type).toBe('application/json; charset=utf-8');
    expect((await post(BODY, { accept: 'text/event-stream' })).type).toMatch('text/event-stream');
  });

  it('are not read as another type of content', async () => {
    await repeat(BODY);
    expect((await post(BODY, { 'content-type': 'text/plain' })).status).toBe(400);
    const spelled = await post(BODY, { 'content-type': ' Application/JSON ; charset=utf-8' });
    expect(spelled).toMatchObject({ status: 200, cache: 'hit' });
  });

  it('are not answered again with a key of idempotency', async () => {
    await repeat(BODY);
    expect((await post(BODY, { 'idempotency-key': 'a' })).cache).not.toBe('hit');
  });

  it('wait for the commit that they name, and are refused with one that does not come', async () => {
    await repeat(BODY);
    const { extensions } = await server.request(PUT, inputOf([{ key: 'one', value: 11 }]));
    const [commit] = extensions.commit ?? [];
    const seen = await post(BODY, { 'x-min-commit': `main:${commit?.seq}` });
    expect(readValue(seen)).toBe(11);
    const headers = { 'x-min-commit': 'main:1000000', 'x-deadline-ms': '200' };
    expect((await post(BODY, headers)).text).toContain('UNAVAILABLE');
    await server.data(PUT, inputOf([{ key: 'one', value: 1 }]));
    expect(readValue(await post(BODY))).toBe(1);
  });
});

describe('other bytes on the connection', () => {
  it('of the same length have their own answer', async () => {
    await repeat(BODY);
    await repeat(OTHER);
    for (let times = 0; times < 3; times += 1) {
      expect(readValue(await post(BODY))).toBe(1);
      expect(readValue(await post(OTHER))).toBe(2);
    }
  });

  it('that differ by a space are another request', async () => {
    await repeat(BODY);
    const spaced = BODY.replace('{ value }', '{  value }');
    expect(readValue(await post(spaced))).toBe(1);
    expect(readValue(await repeat(spaced))).toBe(1);
  });

  it('that are longer than what is remembered are answered again, too', async () => {
    const long = `${BODY}${' '.repeat(10_000)}`;
    expect(readValue(await repeat(long))).toBe(1);
    const longer = `${OTHER}${' '.repeat(10_000)}`;
    expect(readValue(await post(longer))).toBe(2);
  });
});

describe('bodies on a bare socket', () => {
  const headOf = (more: string) =>
    `POST /graphql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${server.key}\r\n` +
    `content-type: application/json\r\n${more}\r\n\r\n`;

  /** What the server says to these parts, sent one after the other, up to `count` answers. */
  async function talk(parts: readonly string[], count: number): Promise<readonly number[]> {
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(server.url).port) });
    socket.setNoDelay(true);
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    for (const part of parts) {
      await new Promise((resolve) => socket.write(part, resolve));
      await new Promise(setImmediate);
    }
    return eventually(() => {
      const values = [...text.matchAll(/"value":(\d+)/g)].map(([, value]) => Number(value));
      expect(values).toHaveLength(count);
      socket.destroy();
      return values;
    });
  }

  it('are each their own when several are sent at once', async () => {
    const one = headOf(`content-length: ${BODY.length}`) + BODY;
    const two = headOf(`content-length: ${OTHER.length}`) + OTHER;
    expect(await talk([one + two + one + one + two], 5)).toEqual([1, 2, 1, 1, 2]);
  });

  it('are put together from pieces', async () => {
    const pieces = [...BODY.matchAll(/.{1,7}/gs)].map(([piece]) => piece);
    const head = headOf(`content-length: ${BODY.length}`);
    expect(await talk([head, ...pieces, head, BODY], 2)).toEqual([1, 1]);
  });

  it('are put together from chunks', async () => {
    const chunks = [BODY.slice(0, 20), BODY.slice(20)].map(
      (chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`,
    );
    const head = headOf('transfer-encoding: chunked');
    expect(await talk([head, ...chunks, '0\r\n\r\n'], 1)).toEqual([1]);
  });

  it('that do not end are given up with their connection, and hold no operation', async () => {
    const { token } = await server.issueKey('BOT', ['main']);
    const head = headOf('content-length: 1000').replace(server.key, token);
    for (let times = 0; times < 20; times += 1) {
      const socket = connect({ host: '127.0.0.1', port: Number(new URL(server.url).port) });
      await new Promise((resolve) => socket.write(`${head}{`, resolve));
      socket.destroy();
    }
    const headers = { authorization: `Bearer ${token}` };
    await eventually(async () => expect((await post(BODY, headers)).status).toBe(200));
  });
});
