import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refusalOf, statusesOf } from '../../support/documents.ts';
import { type Item, makeSymbol, many } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import {
  amend,
  CANCEL,
  cancel,
  fillItem,
  makeAccount,
  makeName,
  orderIn,
  orderItem,
  orderOf,
  place,
  placeOne,
  record,
} from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

describe('cancelOrders', () => {
  it('leaves a filled order as it is and says so', async () => {
    const open = await orderIn(server, 'OPEN');
    const filled = await orderIn(server, 'FILLED');
    const canceled = await cancel(server, { ids: [open.id, filled.id], reason: 'risk' });
    expect(statusesOf(canceled)).toEqual(['UPDATED', 'CONFLICT']);
    expect(canceled.results[0]?.order).toMatchObject({ status: 'CANCELED', reason: 'risk' });
    expect(canceled.results[1]).toMatchObject({
      order: filled,
      error: { code: 'ORDER_NOT_OPEN', path: ['input', 'ids', '1'] },
    });
  });

  it('answers for each name in input order', async () => {
    const orders = [await orderIn(server, 'PENDING'), await orderIn(server, 'CANCELED')];
    const [pending, gone] = orders.map((order) => order.clientOrderId);
    const clientOrderIds = [gone, makeName(), pending, pending, ''];
    const canceled = await cancel(server, { clientOrderIds });
    expect(statusesOf(canceled)).toEqual([
      'UNCHANGED',
      'NOT_FOUND',
      'UPDATED',
      'REJECTED',
      'REJECTED',
    ]);
    expect(canceled.counts).toMatchObject({ updated: 1, unchanged: 1, notFound: 1, rejected: 2 });
  });

  it('cancels what matches, of open orders alone', async () => {
    const symbol = makeSymbol();
    const other = await placeOne(server);
    const { results } = await place(
      server,
      many(3, () => orderItem({ symbol })),
    );
    const [first] = results.map((result) => orderOf(result).clientOrderId);
    await record(server, [fillItem(String(first), { quantity: '2' })]);
    const canceled = await cancel(server, { where: { symbols: [symbol] } });
    expect(statusesOf(canceled)).toEqual(['UPDATED', 'UPDATED']);
    expect(statusesOf(await cancel(server, { where: { symbols: [symbol] } }))).toEqual([]);
    expect(statusesOf(await amend(server, [{ id: other.id, status: 'OPEN' }]))).toEqual([
      'UPDATED',
    ]);
  });

  it('cancels every open order with an empty filter', async () => {
    await placeOne(server);
    const { results } = await cancel(server, { where: {} });
    expect(results.length).toBeGreaterThan(0);
    const rows = await server.sql`
      select 1 from orders where account_id = 'main'
        and status in ('PENDING', 'OPEN', 'PARTIALLY_FILLED')`;
    expect(rows).toHaveLength(0);
  });

  it.each<Item>([
    {},
    { ids: [], clientOrderIds: [] },
    { ids: ['x'], where: {} },
    { ids: null, clientOrderIds: null, where: null },
    { ids: [] },
  ])('refuses %o', async (input) => {
    const answer = await server.request(CANCEL, { input: { account: 'main', ...input } });
    expect(refusalOf(answer).extensions.code).toBe('BAD_INPUT');
  });

  it('refuses the whole batch under ATOMIC', async () => {
    const open = await orderIn(server, 'OPEN');
    const input = {
      account: 'main',
      mode: 'ATOMIC',
      ids: [open.id, (await orderIn(server, 'FILLED')).id],
    };
    expect(refusalOf(await server.request(CANCEL, { input })).extensions.code).toBe(
      'BATCH_REJECTED',
    );
    expect(statusesOf(await amend(server, [{ id: open.id, status: 'OPEN' }]))).toEqual([
      'UNCHANGED',
    ]);
  });

  it('cancels 10,000 matches and refuses 10,001', async () => {
    const account = await makeAccount(server);
    await server.sql`
      insert into orders (account_id, id, exchange, symbol, side, type, time_in_force, status,
        quantity, leverage, reduce_only, position_side, client_order_id, created_at, updated_at,
        item_hash)
      select ${account}, gen_random_uuid(), 'bybit', 'BTCUSDT', 'BUY', 'MARKET', 'GTC', 'OPEN',
        1, 1, false, 'LONG', n, now(), now(), '' from generate_series(1, 10001) as n`;
    const document = `mutation ($input: CancelOrdersInput!) {
      cancelOrders(input: $input) { counts { updated } }
    }`;
    const cancelAll = () => server.request(document, { input: { account, where: {} } });
    expect(refusalOf(await cancelAll()).extensions.code).toBe('BATCH_TOO_LARGE');
    await server.sql`
      delete from orders where account_id = ${account} and client_order_id = '10001'`;
    expect((await cancelAll()).data).toEqual({ cancelOrders: { counts: { updated: 10_000 } } });
  });

  it('takes 1000 names and refuses 1001', async () => {
    const clientOrderIds = many(1000, () => ({})).map(() => makeName());
    expect((await cancel(server, { clientOrderIds })).counts.notFound).toBe(1000);
    const input = { account: 'main', clientOrderIds: [...clientOrderIds, makeName()] };
    const refusal = refusalOf(await server.request(CANCEL, { input }));
    expect(refusal.extensions).toMatchObject({
      code: 'BATCH_TOO_LARGE',
      path: ['input', 'clientOrderIds'],
    });
  });
});
