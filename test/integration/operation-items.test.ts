import { afterAll, beforeAll, expect, it } from 'vitest';
import { OPERATION_ITEMS_MAX } from '../../resolvers/batch.ts';
import { refusalOf } from '../support/documents.ts';
import { candleItem, type Item, many } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { placeOne } from '../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const FULL = 1000;
const BATCHES = OPERATION_ITEMS_MAX / FULL;

/** A series of candles of its own. */
function candles(count: number, symbol: string): Item {
  const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString();
  return {
    items: many(count, (minute) => candleItem({ symbol, interval: '1m', openTime: at(minute) })),
  };
}

/** Ten full batches, and a field of another kind. */
function send(last: string, input: Item) {
  const places = Array.from({ length: BATCHES }, (_none, place) => place);
  const variables = places.map((place) => [`c${place}`, candles(FULL, `S${place}`)]);
  const query = `mutation (${places.map((place) => `$c${place}: IngestCandlesInput!`).join(' ')}
    $last: ${last.charAt(0).toUpperCase()}${last.slice(1)}Input!) {
    ${places.map((place) => `f${place}: ingestCandles(input: $c${place}) { created }`).join(' ')}
    last: ${last}(input: $last) { __typename } }`;
  return server.request(query, { ...Object.fromEntries(variables), last: input });
}

it('takes 10,000 items in one operation and not one more, whichever fields have them', async () => {
  await placeOne(server);
  const before = await server.inventory();
  for (const [field, input] of [
    ['ingestCandles', candles(1, 'LAST')],
    ['cancelOrders', { account: 'main', where: {} }],
  ] as const) {
    const { extensions, path } = refusalOf(await send(field, input));
    expect(path).toEqual(['last']);
    expect(extensions).toMatchObject({
      code: 'BATCH_TOO_LARGE',
      executed: 'NO',
      itemsMax: OPERATION_ITEMS_MAX,
    });
  }
  expect(await server.inventory()).toEqual(before);
  const nothing = { account: 'main', where: { symbols: ['NOTHING'] } };
  const { errors, data } = await send('cancelOrders', nothing);
  expect(errors).toEqual([]);
  expect(data).toMatchObject({ f9: { created: FULL } });
});
