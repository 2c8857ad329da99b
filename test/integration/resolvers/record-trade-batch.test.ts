import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  close,
  codesOf,
  inputOf,
  open,
  openOne,
  refusalOf,
  statusesOf,
} from '../../support/documents.ts';
import { EXAMPLE_TABS } from '../../../graphiql-tabs.ts';
import { type Item, makeSymbol, many, openItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import {
  amend,
  cancel,
  fillItem,
  makeName,
  orderItem,
  place,
  placeOne,
  RECORD,
  record,
  recordOne,
} from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const PER_ITEM = { mode: 'PER_ITEM' } as const;

/** An order at market of one symbol; its name. */
async function order(symbol: string, changes: Item = {}, account = 'main'): Promise<string> {
  const item = { symbol, type: 'MARKET', price: null, quantity: '100', ...changes };
  return (await placeOne(server, item, { account })).clientOrderId;
}

describe('a batch of recordTrades', () => {
  it('replays a fill, late and repeated, and refuses another one under its id', async () => {
    const symbol = makeSymbol();
    const buy = await placeOne(server, { symbol });
    const fill = fillItem(buy.clientOrderId, { quantity: '2' });
    const first = await recordOne(server, fill);
    const byId = { ...fill, clientOrderId: null, orderId: buy.id };
    const again = await recordOne(server, byId);
    expect(again).toEqual({ ...first, status: 'REPLAYED' });
    const other = await recordOne(server, { ...fill, price: '101' }, PER_ITEM);
    expect(other).toMatchObject({
      status: 'CONFLICT',
      error: { code: 'TRADE_ID_REUSED', path: ['input', 'items', '0', 'exchangeTradeId'] },
    });
    // After its position is gone, a repeat still tells which one it was.
    await record(server, [fillItem(await order(symbol, { side: 'SELL' }), { quantity: '2' })]);
    const late = await recordOne(server, fill);
    expect(late).toMatchObject({
      status: 'REPLAYED',
      position: { id: first.position?.id, status: 'CLOSED' },
    });
  });

  it('replays a fill that is twice in one batch', async () => {
    const { clientOrderId } = await placeOne(server);
    const fill = fillItem(clientOrderId);
    const recorded = await record(server, [fill, fill, { ...fill, price: '7' }], PER_ITEM);
    expect(codesOf(recorded)).toEqual([null, null, 'TRADE_ID_REUSED']);
    expect(statusesOf(recorded)).toEqual(['CREATED', 'REPLAYED', 'CONFLICT']);
    expect(recorded.results[1]?.trade).toEqual(recorded.results[0]?.trade);
  });

  it('takes the exchange’s ids per order', async () => {
    const symbol = makeSymbol();
    const names = [await order(symbol), await order(symbol)];
    const fills = names.map((name) => fillItem(name, { exchangeTradeId: 'same' }));
    expect(statusesOf(await record(server, fills))).toEqual(['CREATED', 'CREATED']);
  });

  it('stores nothing when one item of an ATOMIC batch is refused', async () => {
    const { clientOrderId } = await placeOne(server);
    const items = [fillItem(clientOrderId), fillItem(makeName())];
    const before = await server.inventory();
    const refusal = refusalOf(await server.request(RECORD, inputOf(items)));
    expect(refusal.extensions).toMatchObject({
      code: 'BATCH_REJECTED',
      items: [{ status: 'NOT_ATTEMPTED' }, { status: 'NOT_FOUND', code: 'NOT_FOUND' }],
    });
    expect(await server.inventory()).toEqual(before);
    const judged = await record(server, items, { mode: 'VALIDATE_ONLY' });
    expect(statusesOf(judged)).toEqual(['CREATED', 'NOT_FOUND']);
    expect(await server.inventory()).toEqual(before);
    const kept = await record(server, items, PER_ITEM);
    expect(kept.counts).toMatchObject({ created: 1, notFound: 1 });
  });

  it('makes closePositions refuse a position that fills moved', async () => {
    const opened = await openOne(server, openItem());
    await record(server, [fillItem(await order(opened.symbol))]);
    const closed = await close(server, [{ id: opened.id, price: '1' }], PER_ITEM);
    expect(codesOf(closed)).toEqual(['MANAGED_BY_FILLS']);
  });

  it('books 100 fills of 100 orders in a few statements', async () => {
    const symbols = Array.from({ length: 10 }, makeSymbol);
    const items = many(100, (index) => orderItem({ symbol: symbols[index % 10], quantity: '2' }));
    await place(server, items);
    const fills = items.map((item) => fillItem(String(item.clientOrderId)));
    server.statements();
    await record(server, fills);
    expect(server.statements()).toEqual([
      'transaction.begin',
      'orders.lockForFills',
      'positions.lockOpen',
      'units.write',
      'changes.append',
      'transaction.commit',
    ]);
    const more = [...items.map((item) => fillItem(String(item.clientOrderId))), ...fills];
    const again = await record(server, more);
    expect(again.counts).toMatchObject({ created: 100, replayed: 100 });
    expect(server.statements()).toEqual([
      'transaction.begin',
      'orders.lockForFills',
      'positions.lockOpen',
      'trades.findByFillKeys',
      'units.write',
      'changes.append',
      'transaction.commit',
    ]);
  });

  it('commits an order, its fill and the stops of its position together, or nothing', async () => {
    const document = `mutation (
      $orders: PlaceOrdersInput!, $trades: RecordTradesInput!, $positions: UpdatePositionsInput!
    ) {
      placeOrders(input: $orders) { results { order { id trades { id } position { id } } } }
      recordTrades(input: $trades) { results { order { trades { id } position { id } } } }
      updatePositions(input: $positions) { results { status position { stopLossPrice } } }
    }`;
    const item = orderItem();
    const name = { exchange: 'bybit', symbol: item.symbol, side: 'LONG' };
    const variables = (stopLossPrice: string) => ({
      orders: { account: 'main', items: [item] },
      trades: { account: 'main', items: [fillItem(String(item.clientOrderId))] },
      positions: { account: 'main', items: [{ ...name, stopLossPrice }] },
    });
    const before = await server.inventory();
    refusalOf(await server.request(document, variables('100')));
    expect(await server.inventory()).toEqual(before);
    const data = await server.data<Record<string, { results: unknown[] }>>(
      document,
      variables('99'),
    );
    expect(data.placeOrders?.results).toMatchObject([{ order: { trades: [], position: null } }]);
    // A relation that the first field read is read again after the second has changed it.
    expect(data.recordTrades?.results).toMatchObject([
      { order: { trades: [{ id: expect.any(String) }], position: { id: expect.any(String) } } },
    ]);
    expect(data.updatePositions?.results).toEqual([
      { status: 'UPDATED', position: { stopLossPrice: '99' } },
    ]);
  });

  it('runs the example, and runs it again', async () => {
    const example = EXAMPLE_TABS.find((tab) => tab.name === 'OneUnitOfWork');
    const run = async () => {
      const data = await server.data<Record<string, { results: { status: string }[] }>>(
        example?.query ?? '',
        example?.variables ?? {},
      );
      return Object.values(data).map(({ results }) => results[0]?.status);
    };
    expect(await run()).toEqual(['CREATED', 'CREATED', 'UPDATED']);
    expect(await run()).toEqual(['REPLAYED', 'REPLAYED', 'UNCHANGED']);
  });

  it('does not wait for another instrument, and waits for its own', async () => {
    const [first, second] = [await placeOne(server), await placeOne(server)];
    const session = server.connect();
    await session`begin`;
    await session`
      select from orders where account_id = 'main' and client_order_id = ${first.clientOrderId}
      for update`;
    const waiting = recordOne(server, fillItem(first.clientOrderId));
    await server.untilBlocked(1);
    expect((await recordOne(server, fillItem(second.clientOrderId))).status).toBe('CREATED');
    await session`commit`;
    expect((await waiting).status).toBe('CREATED');
  });

  it('sees the fill that another request books meanwhile', async () => {
    const { clientOrderId } = await placeOne(server, { quantity: '1' });
    const fill = fillItem(clientOrderId);
    const all = await Promise.all(many(6, () => fill).map((item) => recordOne(server, item)));
    const statuses = all.map((result) => result.status).sort();
    expect(statuses).toEqual(['CREATED', ...many(5, () => ({})).map(() => 'REPLAYED')]);
  });

  it('opens one position when openPositions and fills meet', async () => {
    const symbol = makeSymbol();
    const name = await order(symbol);
    const [opened] = await Promise.all([
      open(server, [openItem({ symbol })], PER_ITEM),
      recordOne(server, fillItem(name)),
    ]);
    const rows = await server.sql`
      select trim_scale(quantity) as quantity from positions where symbol = ${symbol}`;
    expect(rows).toHaveLength(1);
    const isFirst = statusesOf(opened)[0] === 'CREATED';
    expect(rows[0]?.quantity).toBe(isFirst ? '3' : '1');
  });

  it('records a change for each row, once', async () => {
    const { id, clientOrderId } = await placeOne(server);
    const [row] = await server.sql<{ seq: string }[]>`
      select seq from account_heads where account_id = 'main'`;
    await record(server, [fillItem(clientOrderId), fillItem(clientOrderId)]);
    const rows = await server.sql`
      select entity, operation, ids, before ->> 'status' as before, after ->> 'status' as after
      from changes where account_id = 'main' and seq > ${row?.seq ?? '0'} order by seq`;
    expect(rows).toMatchObject([
      {
        entity: 'order',
        operation: 'UPDATE',
        ids: [id.split('.')[2]],
        before: 'PENDING',
        after: 'FILLED',
      },
      { entity: 'position', operation: 'INSERT', after: 'OPEN' },
      { entity: 'trade', operation: 'INSERT' },
      { entity: 'trade', operation: 'INSERT' },
    ]);
  });

  it('cancels what is left of an order and keeps what was filled', async () => {
    const { id, clientOrderId } = await placeOne(server);
    await record(server, [fillItem(clientOrderId)]);
    const { results } = await cancel(server, { ids: [id] });
    expect(results[0]?.order).toMatchObject({ status: 'CANCELED', filledQuantity: '1' });
    const late = await recordOne(server, fillItem(clientOrderId));
    expect(late.order?.status).toBe('FILLED');
    const reopened = await amend(server, [{ id, status: 'OPEN' }], PER_ITEM);
    expect(codesOf(reopened)).toEqual(['ORDER_NOT_OPEN']);
  });
});
