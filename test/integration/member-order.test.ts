import { afterAll, beforeAll, expect, it } from 'vitest';
import { inputOf, open, openOne, PREDICT, statusesOf, update } from '../support/documents.ts';
import { openItem, predictionItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { orderItem, place } from '../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const FIRST = { zebra: 1, a: { long: [1, { y: 1, x: 2 }], b: 2 } };
/** Equal, though neither this order nor the other is the one that the database keeps. */
const SAME = { a: { b: 2, long: [1, { x: 2, y: 1 }] }, zebra: 1 };
const OTHER = { ...SAME, zebra: 2 };

it('an order is replayed whatever the order in its metadata', async () => {
  const item = orderItem({ metadata: FIRST });
  expect(statusesOf(await place(server, [item]))).toEqual(['CREATED']);
  expect(statusesOf(await place(server, [{ ...item, metadata: SAME }]))).toEqual(['REPLAYED']);
  const other = await place(server, [{ ...item, metadata: OTHER }], { mode: 'PER_ITEM' });
  expect(statusesOf(other)).toEqual(['CONFLICT']);
});

it('an opening is replayed whatever the order in its metadata', async () => {
  const item = openItem({ clientId: 'member-order', metadata: FIRST });
  expect(statusesOf(await open(server, [item]))).toEqual(['CREATED']);
  expect(statusesOf(await open(server, [{ ...item, metadata: SAME }]))).toEqual(['REPLAYED']);
});

it('a prediction is replayed whatever the order in its indicators', async () => {
  const item = predictionItem({ indicators: FIRST, metadata: SAME });
  const log = async (changed: object) => {
    type Data = { logPredictions: { results: { status: string }[] } };
    const input = inputOf([{ ...item, ...changed }], { mode: 'PER_ITEM' });
    const data = await server.data<Data>(PREDICT, input);
    return data.logPredictions.results.map(({ status }) => status);
  };
  expect(await log({})).toEqual(['CREATED']);
  expect(await log({ indicators: SAME, metadata: FIRST })).toEqual(['REPLAYED']);
  expect(await log({ indicators: OTHER })).toEqual(['CONFLICT']);
});

it('a position is unchanged by what it has, whatever its order', async () => {
  const { id } = await openOne(server, openItem({ metadata: FIRST }));
  expect(statusesOf(await update(server, [{ id, metadata: SAME }]))).toEqual(['UNCHANGED']);
  expect(statusesOf(await update(server, [{ id, metadata: OTHER }]))).toEqual(['UPDATED']);
});
