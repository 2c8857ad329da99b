import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { NODES_MAX, VALUES_MAX } from '../../limits.ts';
import { inputOf, refusalOf } from '../support/documents.ts';
import { many, openItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { connectSocket, type TestSocket } from '../support/socket.ts';

let server: TestServer;
/** Of a key that may only look. */
let key: string;
const sockets: TestSocket[] = [];

beforeAll(async () => {
  server = await startTestServer();
  ({ token: key } = await server.issueKey('VIEWER', ['main']));
});

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

afterAll(() => server.stop());

/** Relations that lead back to where they began, so deep that depth alone lets it pass. */
const CYCLE = `position { trades { position { trades { position { trades { id } } } } } }`;

describe('a query that is estimated to make too much', () => {
  it('is refused before it reads anything, with the estimate and the bound', async () => {
    server.statements();
    const answer = await server.request(
      `{ trades(first: 500) { nodes { ${CYCLE} } } }`,
      {},
      { key },
    );
    const { extensions, message } = refusalOf(answer);
    expect(extensions).toMatchObject({
      code: 'QUERY_TOO_EXPENSIVE',
      retryable: false,
      executed: 'NO',
      nodes: 4_421_001,
      nodesMax: NODES_MAX,
    });
    expect(message).toContain('4421001 nodes');
    expect(server.statements()).toEqual([]);
  });

  // 4 · (1 + 500 + 500 · 20) and the candles.
  const page = (alias: string) => `${alias}: orders(first: 500) { nodes { trades { id } } }`;
  const atBound = `query ($last: Int!) {
    ${['a', 'b', 'c', 'd'].map(page).join(' ')}
    e: candles(exchange: "bybit", symbol: "BTCUSDT", interval: "1m", last: 5000) { open }
    f: candles(exchange: "bybit", symbol: "BTCUSDT", interval: "1m", last: $last) { open }
  }`;

  it('passes at the bound and not one above', async () => {
    const last = NODES_MAX - 4 * (1 + 500 + 10_000) - 5000;
    expect((await server.request(atBound, { last }, { key })).errors).toEqual([]);
    const { extensions } = refusalOf(await server.request(atBound, { last: last + 1 }, { key }));
    expect(extensions).toMatchObject({ code: 'QUERY_TOO_EXPENSIVE', nodes: NODES_MAX + 1 });
  });

  it('passes at the bound of values and not above', async () => {
    // Each alias is a field more of each of 5000 candles.
    const fields = (count: number) =>
      Array.from({ length: count }, (_none, place) => `f${place}: open`).join(' ');
    const candles = (count: number) =>
      `{ candles(exchange: "bybit", symbol: "B", interval: "1m", last: 5000) { ${fields(count)} } }`;
    const count = VALUES_MAX / 5000 - 1;
    expect((await server.request(candles(count), {}, { key })).errors).toEqual([]);
    const { extensions } = refusalOf(await server.request(candles(count + 1), {}, { key }));
    expect(extensions).toMatchObject({ code: 'QUERY_TOO_EXPENSIVE', valuesMax: VALUES_MAX });
  });

  it('is refused however it is folded', async () => {
    const text = `query ($first: Int = 500) { ...root }
      fragment root on Query { trades(first: $first) { edges { node { ... on Trade { ...cycle } } } } }
      fragment cycle on Trade { ${CYCLE} }`;
    const { extensions } = refusalOf(await server.request(text, {}, { key }));
    expect(extensions.code).toBe('QUERY_TOO_EXPENSIVE');
  });

  it('is refused over GET and over a socket', async () => {
    const query = `{ trades(first: 500) { nodes { ${CYCLE} } } }`;
    const url = `${server.url}/graphql?query=${encodeURIComponent(query)}`;
    const response = await fetch(url, { headers: { authorization: `Bearer ${key}` } });
    expect(await response.json()).toMatchObject({
      errors: [{ extensions: { code: 'QUERY_TOO_EXPENSIVE' } }],
    });
    const socket = await connectSocket(server, key);
    sockets.push(socket);
    socket.send({ type: 'subscribe', id: '1', payload: { query } });
    expect(await socket.next('1')).toMatchObject({
      payload: { errors: [{ extensions: { code: 'QUERY_TOO_EXPENSIVE' } }] },
    });
    expect(socket.isOpen).toBe(true);
  });
});

it('refuses a mutation whose answer would be too much, and stores nothing', async () => {
  const before = await server.inventory();
  const text = `mutation ($input: OpenPositionsInput!) {
    openPositions(input: $input) { results { position { trades { ${CYCLE} } } } } }`;
  const answer = await server.request(text, inputOf(many(2, () => openItem())));
  expect(refusalOf(answer).extensions).toMatchObject({
    code: 'QUERY_TOO_EXPENSIVE',
    executed: 'NO',
  });
  expect(await server.inventory()).toEqual(before);
});

it('refuses a subscription whose events would be too much', async () => {
  const socket = await connectSocket(server, key);
  sockets.push(socket);
  const query = `subscription { positionChanges(account: "main") {
    position { trades { ${CYCLE} } } } }`;
  socket.send({ type: 'subscribe', id: '1', payload: { query } });
  expect(await socket.next('1')).toMatchObject({
    payload: { errors: [{ extensions: { code: 'QUERY_TOO_EXPENSIVE' } }] },
  });
});

it('counts the root fields of fragments', async () => {
  const fields = (count: number) =>
    Array.from({ length: count }, (_none, place) => `f${place}: viewer { role }`).join(' ');
  const text = (count: number) =>
    `{ ...root ... on Query { last: viewer { role } } } fragment root on Query { ${fields(count)} }`;
  expect((await server.request(text(31), {}, { key })).errors).toEqual([]);
  const { extensions } = refusalOf(await server.request(text(32), {}, { key }));
  expect(extensions.code).toBe('QUERY_TOO_EXPENSIVE');
});
