import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  codesOf,
  inputOf,
  OPEN,
  open,
  openOne,
  PREDICT,
  refusalOf,
  UPDATE,
} from '../support/documents.ts';
import { type Item, many, openItem, predictionItem } from '../support/make.ts';
import {
  type Answer,
  type AnswerError,
  startTestServer,
  type TestServer,
} from '../support/server.ts';

const REQUEST_ID = 'bad-input:1.2_3';
const HEADERS = { 'x-request-id': REQUEST_ID };

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

const OPEN_BAD: [string, Item, readonly string[]][] = [
  ['a symbol in lower case', { symbol: 'btcusdt' }, ['symbol']],
  ['a symbol of 41 characters', { symbol: 'A'.repeat(41) }, ['symbol']],
  ['a symbol with a space', { symbol: 'BTC USDT' }, ['symbol']],
  ['an exchange in upper case', { exchange: 'BYBIT' }, ['exchange']],
  ['an exchange without a name', { exchange: '' }, ['exchange']],
  ['a negative quantity', { quantity: '-1' }, ['quantity']],
  ['a quantity of nothing', { quantity: '0' }, ['quantity']],
  ['a negative nothing', { quantity: '-0.0' }, ['quantity']],
  ['a price of nothing', { entryPrice: '0' }, ['entryPrice']],
  ['a leverage of nothing', { leverage: '0' }, ['leverage']],
  ['a stop on the wrong side', { stopLossPrice: '101' }, ['stopLossPrice']],
  ['an empty strategy', { strategy: '' }, ['strategy']],
  ['a strategy of 201 characters', { strategy: 'x'.repeat(201) }, ['strategy']],
  ['a strategy with a NUL', { strategy: 'a\u0000b' }, ['strategy']],
  ['a strategy with half a character', { strategy: 'a\ud800b' }, ['strategy']],
  ['metadata with a NUL', { metadata: { a: 'x\u0000' } }, ['metadata']],
  ['metadata with half a character', { metadata: { a: '\udc00' } }, ['metadata']],
  ['metadata with half a character in a name', { metadata: { '\udc00': 1 } }, ['metadata']],
  ['a clientId of 65 characters', { clientId: 'x'.repeat(65) }, ['clientId']],
  ['an instant before 2015', { openedAt: '2014-12-31T23:59:59Z' }, ['openedAt']],
];

describe('an item', () => {
  it.each(OPEN_BAD)('with %s refuses the batch and is named', async (_what, changes, path) => {
    const answer = await send(OPEN, inputOf([openItem(), openItem(changes)]));
    const { extensions, path: at } = assertRefusal(answer, 'BATCH_REJECTED');
    expect(extensions.path).toEqual(['input', 'items', '1', ...path]);
    expect(at).toEqual(['openPositions']);
  });

  it.each<[string, unknown]>([
    ['NaN', 'NaN'],
    ['Infinity', 'Infinity'],
    ['minus Infinity', '-Infinity'],
    ['a list', ['1']],
    ['an object', { value: '1' }],
    ['true', true],
    ['null', null],
  ])('with the quantity %s is no item at all', async (_what, quantity) => {
    const answer = await send(OPEN, inputOf([openItem({ quantity })]));
    const { extensions } = assertRefusal(answer, 'BAD_INPUT');
    expect(extensions.path).toEqual(['input', 'items', '0', 'quantity']);
  });

  it.each([
    ['an unknown field', { nothing: 1 }],
    ['an unknown side', { side: 'UP' }],
  ])('with %s is no item at all', async (_what, changes) => {
    const answer = await send(OPEN, inputOf([openItem(changes)]));
    assertRefusal(answer, 'BAD_INPUT');
  });

  it('with a number that is too large for a Float is refused, as a literal too', async () => {
    const { predictedAt, symbol } = predictionItem();
    const answer = await send(
      `mutation {
        logPredictions(input: { account: "main", items: [{
          exchange: "bybit", symbol: "${symbol}", modelVersion: "m", signal: LONG,
          predictedAt: "${predictedAt}", signalConfidence: 0.5, riskScore: 1e400
        }] }) { counts { created } }
      }`,
      {},
    );
    expect(answer.errors[0]?.extensions).toMatchObject({ executed: 'NO', requestId: REQUEST_ID });
    expect(answer.data).toBeNull();
  });

  it('may hold text that only looks like an escape', async () => {
    const metadata = { text: '\\u0000 \\ud800', none: null };
    const batch = await open(server, [openItem({ metadata })], { mode: 'VALIDATE_ONLY' });
    expect(batch.results[0]?.position?.metadata).toEqual(metadata);
  });

  it('may not come twice in a batch', async () => {
    const item = predictionItem();
    const answer = await send(PREDICT, inputOf([item, item]));
    const { extensions } = assertRefusal(answer, 'BATCH_REJECTED');
    expect(extensions.items).toMatchObject([{}, { code: 'DUPLICATE_IN_BATCH' }]);
  });
});

describe('a batch', () => {
  it.each([
    ['openPositions', OPEN, openItem],
    ['logPredictions', PREDICT, predictionItem],
    ['updatePositions', UPDATE, () => ({ id: 'position.main.x' })],
  ])('of 1001 items is too large for %s', async (_field, document, item) => {
    const items = many(1001, () => item());
    const { extensions } = assertRefusal(await send(document, inputOf(items)), 'BATCH_TOO_LARGE');
    expect(extensions).toMatchObject({ itemsMax: 1000, path: ['input', 'items'] });
  });

  it('of 1000 items is accepted', async () => {
    const items = many(1000, () => openItem());
    const { counts } = await open(server, items, { mode: 'VALIDATE_ONLY' });
    expect(counts.created).toBe(1000);
  });

  it('of no items is refused', async () => {
    const { extensions } = assertRefusal(await send(OPEN, inputOf([])), 'BAD_INPUT');
    expect(extensions.path).toEqual(['input', 'items']);
  });
});

describe('an id', () => {
  const row = '00000000-0000-7000-8000-000000000000';

  it.each([
    ['is malformed', 'position.main.1'],
    ['has no kind', row],
    ['is empty', ''],
    ['is of another kind', `prediction.main.${row}`],
    ['is of another account', `position.other.${row}`],
    ['is an account', 'main'],
  ])('that %s rejects its item', async (_what, id) => {
    const answer = await send(UPDATE, inputOf([{ id, leverage: '2' }]));
    const { extensions } = assertRefusal(answer, 'BATCH_REJECTED');
    expect(extensions.items).toMatchObject([{ status: 'REJECTED', code: 'BAD_INPUT' }]);
    expect(extensions.path).toEqual(['input', 'items', '0', 'id']);
  });
});

describe('an account', () => {
  it('that is unknown is refused by name', async () => {
    const answer = await send(OPEN, inputOf([openItem()], { account: 'nobody' }));
    const { extensions, message } = assertRefusal(answer, 'NOT_FOUND');
    expect(extensions.path).toEqual(['account']);
    expect(message).toContain('nobody');
  });

  it('that is unknown gets no predictions, which no foreign key guards', async () => {
    const answer = await send(PREDICT, inputOf([predictionItem()], { account: 'nobody' }));
    assertRefusal(answer, 'NOT_FOUND');
  });

  it('has to be named by a key that is for several', async () => {
    const answer = await send(OPEN, { input: { items: [openItem()] } });
    const { extensions } = assertRefusal(answer, 'BAD_INPUT');
    expect(extensions.path).toEqual(['account']);
  });

  it('of the system takes no positions', async () => {
    const answer = await send(OPEN, inputOf([openItem()], { account: '_system' }));
    expect(refusalOf(answer).extensions.executed).toBe('NO');
  });
});

it('shows nothing of the database in any message', async () => {
  const { id } = await openOne(server, openItem(), { mode: 'VALIDATE_ONLY' });
  const batch = await open(
    server,
    OPEN_BAD.map(([, changes]) => openItem(changes)),
    { mode: 'VALIDATE_ONLY' },
  );
  expect(codesOf(batch)).not.toContain(null);
  const messages = batch.results.map((result) => result.error?.message).join('\n');
  expect(messages).not.toMatch(/postgres|select|insert|constraint|relation|at .*\.ts/i);
  expect(id).toMatch(/^position\.main\./);
});
