import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { inputOf, OPEN, PREDICT, refusalOf } from '../support/documents.ts';
import { type Item, openItem, predictionItem } from '../support/make.ts';
import {
  type Answer,
  type AnswerError,
  readAnswer,
  startTestServer,
  type TestServer,
} from '../support/server.ts';

const REQUEST_ID = 'bad-input:1.2_3';
const HEADERS = { 'x-request-id': REQUEST_ID };
const MIB = 1024 * 1024;

let server: TestServer;
let before: unknown;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

beforeEach(async () => {
  before = await server.inventory();
});

/** Whatever was refused, nothing of it is stored. */
afterEach(async () => {
  expect(await server.inventory()).toEqual(before);
});

function send(query: string, variables: object, options: object = {}) {
  return server.request(query, variables, { headers: HEADERS, ...options });
}

/** The one error of an answer, which says what every error says. */
function assertRefusal(answer: Answer<unknown>, code: string): AnswerError {
  expect(answer.headers.get('x-request-id')).toBe(REQUEST_ID);
  const refusal = refusalOf(answer);
  expect(refusal.extensions).toMatchObject({
    code,
    executed: 'NO',
    retryable: false,
    requestId: REQUEST_ID,
  });
  return refusal;
}

describe('a body', () => {
  async function post(body: string | Uint8Array, headers: Item = {}): Promise<Answer<unknown>> {
    const given = {
      authorization: `Bearer ${server.key}`,
      'content-type': 'application/json',
      ...HEADERS,
      ...headers,
    };
    const options = { method: 'POST', headers: given as Record<string, string> };
    // Text without a type gets one from fetch; bytes do not.
    return readAnswer(await fetch(`${server.url}/graphql`, { ...options, body: body as BodyInit }));
  }

  const padded = (bytes: number) => {
    const body = JSON.stringify({ query: '{ viewer { role } }', variables: { padding: '' } });
    return body.replace('"padding":""', `"padding":"${'x'.repeat(bytes - body.length)}"`);
  };

  it('of 5 MB is too large', async () => {
    const answer = await post(padded(5 * MIB));
    expect(answer.status).toBe(413);
    assertRefusal(answer, 'PAYLOAD_TOO_LARGE');
  });

  it('of one byte above 4 MiB is too large, and one of 4 MiB is not', async () => {
    assertRefusal(await post(padded(4 * MIB + 1)), 'PAYLOAD_TOO_LARGE');
    expect(await post(padded(4 * MIB))).toMatchObject({ status: 200, errors: [] });
  });

  it('that does not say how long it is is bounded too', async () => {
    const chunk = new TextEncoder().encode('x'.repeat(MIB));
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        sent += 1;
        if (sent > 5) controller.close();
        else controller.enqueue(chunk);
      },
    });
    const response = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${server.key}`,
        'content-type': 'application/json',
        ...HEADERS,
      },
      body,
      duplex: 'half',
    } as RequestInit);
    expect(response.status).toBe(413);
    assertRefusal(await readAnswer(response), 'PAYLOAD_TOO_LARGE');
  });

  it.each(['{', '', 'query=%7Bviewer%7Brole%7D%7D', '{"query": "{ viewer"'])(
    'that is no JSON is refused: %j',
    async (text) => {
      const answer = await post(text);
      expect(answer.status).toBe(400);
      assertRefusal(answer, 'BAD_INPUT');
    },
  );

  it.each(['[]', '"{ viewer { role } }"', 'null', '1', '[{"query": "{ viewer { role } }"}]'])(
    'that is no object is refused: %s',
    async (text) => {
      const answer = await post(text);
      expect(answer.status).toBe(400);
      assertRefusal(answer, 'BAD_INPUT');
    },
  );

  it.each([
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain',
    'application/graphql',
    'application/jsonx',
  ])('of the type %s is not read', async (type) => {
    const body = JSON.stringify({ query: OPEN, variables: inputOf([openItem()]) });
    const answer = await post(body, { 'content-type': type });
    expect(answer.status).toBe(400);
    const { extensions } = assertRefusal(answer, 'BAD_INPUT');
    expect(extensions.path).toEqual(['headers', 'content-type']);
  });

  it('without a type is not read', async () => {
    const body = new TextEncoder().encode(JSON.stringify({ query: '{ viewer { role } }' }));
    const headers = { authorization: `Bearer ${server.key}`, ...HEADERS };
    const response = await fetch(`${server.url}/graphql`, { method: 'POST', headers, body });
    assertRefusal(await readAnswer(response), 'BAD_INPUT');
  });

  it.each<[string, Item]>([
    ['no query', {}],
    ['a query that is none', { query: 1 }],
    ['an empty query', { query: '' }],
    ['variables that are a list', { query: '{ viewer { role } }', variables: [] }],
    ['extensions that are text', { query: '{ viewer { role } }', extensions: 'x' }],
  ])('with %s is refused', async (_what, params) => {
    const { errors, data } = await post(JSON.stringify(params));
    expect(data).toBeNull();
    expect(errors[0]?.extensions).toMatchObject({ executed: 'NO', requestId: REQUEST_ID });
    expect(['BAD_INPUT', 'GRAPHQL_PARSE_FAILED', 'GRAPHQL_VALIDATION_FAILED']).toContain(
      errors[0]?.extensions.code,
    );
  });
});

describe('a document', () => {
  it('that cannot be parsed has its own code', async () => {
    assertRefusal(await send('mutation {', {}), 'GRAPHQL_PARSE_FAILED');
  });

  it('that asks for what there is not has its own code', async () => {
    assertRefusal(await send('mutation { dropTables }', {}), 'GRAPHQL_VALIDATION_FAILED');
  });

  it('with more than 32 root fields is too expensive', async () => {
    const field = (place: number) => `f${place}: viewer { role }`;
    const fields = Array.from({ length: 33 }, (_none, place) => field(place));
    assertRefusal(await send(`{ ${fields.join(' ')} }`, {}), 'QUERY_TOO_EXPENSIVE');
    const allowed = await send(`{ ${fields.slice(1).join(' ')} }`, {});
    expect(allowed.errors).toEqual([]);
  });

  it('may not send a mutation by GET', async () => {
    const query = `mutation { openPositions(input: { account: "main", items: [{
      exchange: "bybit", symbol: "GETUSDT", side: LONG, quantity: "1", entryPrice: "1"
    }] }) { counts { created } } }`;
    const url = `${server.url}/graphql?query=${encodeURIComponent(query)}`;
    const headers = { authorization: `Bearer ${server.key}`, ...HEADERS };
    const answer = await readAnswer(await fetch(url, { headers }));
    expect(answer.status).toBe(405);
    expect(answer.errors[0]?.extensions).toMatchObject({ executed: 'NO', requestId: REQUEST_ID });
  });
});

describe('a header', () => {
  it('x-deadline-ms may ask for as much as is configured', async () => {
    const headers = { ...HEADERS, 'x-deadline-ms': '60000' };
    expect((await send('{ viewer { role } }', {}, { headers })).errors).toEqual([]);
  });

  it.each(['0', '-1', '1.5', '60001', '600000', '1000000', 'soon', ' '])(
    'x-deadline-ms of %j is refused',
    async (value) => {
      const headers = { ...HEADERS, 'x-deadline-ms': value };
      const answer = await send(OPEN, inputOf([openItem()]), { headers });
      const { extensions } = assertRefusal(answer, 'BAD_INPUT');
      expect(extensions.path).toEqual(['headers', 'x-deadline-ms']);
    },
  );

  it.each(['x'.repeat(201), 'with space', ''])('Idempotency-Key %j is refused', async (value) => {
    const headers = { ...HEADERS, 'idempotency-key': value };
    const answer = await send(OPEN, inputOf([openItem()]), { headers });
    assertRefusal(answer, 'BAD_INPUT');
  });

  it.each([1, {}, '', 'a\nb'])('idempotencyKey %j in the extensions is refused', async (value) => {
    const extensions = { idempotencyKey: value };
    assertRefusal(await send(OPEN, inputOf([openItem()]), { extensions }), 'BAD_INPUT');
  });

  it.each(['x'.repeat(101), 'two words', 'a"b'])(
    'x-request-id %j is replaced by one of ours',
    async (value) => {
      const answer = await server.request('{', {}, { headers: { 'x-request-id': value } });
      const requestId = answer.headers.get('x-request-id');
      expect(requestId).toMatch(/^[\w-]{36}$/);
      expect(refusalOf(answer).extensions.requestId).toBe(requestId);
    },
  );
});

describe('a key', () => {
  it.each<[string, string]>([
    ['of nobody', 'tw_AAAAAAAAAAAA_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB'],
    ['of another form', 'secret'],
    ['without text', ''],
  ])('%s may do nothing', async (_what, key) => {
    const answer = await send(OPEN, inputOf([openItem()]), { key });
    expect(answer.status).toBe(401);
    assertRefusal(answer, 'UNAUTHENTICATED');
  });

  it('with another secret may do nothing', async () => {
    const key = `${server.key.slice(0, -4)}AAAA`;
    assertRefusal(await send(OPEN, inputOf([openItem()]), { key }), 'UNAUTHENTICATED');
  });

  it('is needed', async () => {
    const answer = await send('{ viewer { role } }', {}, { key: null });
    expect(answer.status).toBe(401);
    assertRefusal(answer, 'UNAUTHENTICATED');
  });

  it('of a viewer writes nothing, also where it could only validate', async () => {
    const { token: key } = await server.issueKey('VIEWER', ['main']);
    for (const mode of ['ATOMIC', 'VALIDATE_ONLY'] as const) {
      const answer = await send(OPEN, inputOf([openItem()], { mode }), { key });
      expect(assertRefusal(answer, 'FORBIDDEN').message).toContain('positions:write');
    }
    assertRefusal(await send(PREDICT, inputOf([predictionItem()]), { key }), 'FORBIDDEN');
  });

  it('of another account writes and reads nothing of this one', async () => {
    const { token: key } = await server.issueKey('BOT', ['other']);
    assertRefusal(await send(OPEN, inputOf([openItem()]), { key }), 'FORBIDDEN');
    const { errors } = await send('{ positions(account: "main") { nodes { id } } }', {}, { key });
    expect(errors[0]?.extensions.code).toBe('FORBIDDEN');
  });
});
