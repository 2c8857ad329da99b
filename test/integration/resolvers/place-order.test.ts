import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codesOf, inputOf, refusalOf, statusesOf } from '../../support/documents.ts';
import { type Item, makeSymbol, many } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import {
  amend,
  fillItem,
  makeAccount,
  orderItem,
  orderOf,
  PLACE,
  place,
  placeOne,
  record,
} from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const PER_ITEM = { mode: 'PER_ITEM' } as const;

async function codeOfPlacing(changes: Item, account = 'main'): Promise<string | null> {
  const placed = await place(server, [orderItem(changes)], { ...PER_ITEM, account });
  return codesOf(placed)[0] ?? null;
}

async function countOrders(): Promise<number> {
  const [row] = await server.sql<{ count: number }[]>`select count(*)::int as count from orders`;
  return row?.count ?? 0;
}

describe('placeOrders', () => {
  it('stores an order as PENDING with its defaults', async () => {
    const order = await placeOne(server, { strategy: 'trend', metadata: { a: 1 } });
    expect(order).toMatchObject({
      id: expect.stringMatching(/^order\.main\./),
      status: 'PENDING',
      timeInForce: 'GTC',
      leverage: '1',
      reduceOnly: false,
      positionSide: 'LONG',
      filledQuantity: '0',
      averagePrice: null,
      strategy: 'trend',
      metadata: { a: 1 },
      closedAt: null,
      version: 1,
    });
  });

  it.each<[string, Item]>([
    ['price', { price: null }],
    ['stopPrice', { type: 'STOP_MARKET' }],
    ['stopPrice', { type: 'TAKE_PROFIT_LIMIT' }],
    ['price', { type: 'STOP_LIMIT', stopPrice: '90', price: null }],
    ['trailBy', { type: 'TRAILING_STOP' }],
    ['trailBy', { trailBy: '5' }],
    ['stopPrice', { stopPrice: '90' }],
    ['expiresAt', { timeInForce: 'GTD' }],
    ['expiresAt', { expiresAt: '2099-01-01T00:00:00Z' }],
    ['timeInForce', { type: 'MARKET', timeInForce: 'GTX' }],
    ['quantity', { quantity: '0' }],
    ['price', { price: '-1' }],
    ['clientOrderId', { clientOrderId: '' }],
    ['clientOrderId', { clientOrderId: 'x'.repeat(65) }],
    ['exchange', { exchange: 'Bybit' }],
    ['symbol', { symbol: 'btcusdt' }],
    ['leverage', { leverage: '1001' }],
    ['positionSide', { positionSide: 'SHORT' }],
    ['positionSide', { reduceOnly: true, positionSide: 'LONG' }],
    ['expiresAt', { timeInForce: 'GTD', expiresAt: '2020-01-01T00:00:00Z' }],
  ])('rejects a wrong %s', async (name, changes) => {
    const { results } = await place(server, [orderItem(changes)], PER_ITEM);
    expect(results[0]).toMatchObject({
      status: 'REJECTED',
      order: null,
      error: { code: 'BAD_INPUT', path: ['input', 'items', '0', name] },
    });
  });

  it.each<Item>([
    { type: 'MARKET', price: null },
    { type: 'STOP_MARKET', price: null, stopPrice: '110' },
    { type: 'STOP_LIMIT', stopPrice: '110' },
    { type: 'TAKE_PROFIT_MARKET', price: null, stopPrice: '90' },
    { type: 'TAKE_PROFIT_LIMIT', stopPrice: '90' },
    { type: 'TRAILING_STOP', price: null, trailBy: '5' },
    { timeInForce: 'GTD', expiresAt: '2099-01-01T00:00:00Z' },
    { timeInForce: 'GTX' },
    { clientOrderId: 'x'.repeat(64) },
  ])('accepts %o', async (changes) => {
    expect(await placeOne(server, changes)).toMatchObject(
      changes.type ? { type: changes.type } : {},
    );
  });

  it.each([
    ['BUY', false, 'LONG'],
    ['SELL', false, 'SHORT'],
    ['BUY', true, 'SHORT'],
    ['SELL', true, 'LONG'],
  ] as const)('derives the side of %s, reduceOnly %s: %s', async (side, reduceOnly, expected) => {
    expect(await placeOne(server, { side, reduceOnly })).toMatchObject({ positionSide: expected });
  });

  it('needs a positionSide in a hedge account', async () => {
    const account = await makeAccount(server, { hedgeMode: true });
    expect(await codeOfPlacing({}, account)).toBe('BAD_INPUT');
    expect(await codeOfPlacing({ positionSide: 'SHORT' }, account)).toBeNull();
    expect(await codeOfPlacing({ positionSide: 'LONG', reduceOnly: true }, account)).toBe(
      'BAD_INPUT',
    );
    expect(await codeOfPlacing({ positionSide: 'SHORT', reduceOnly: true }, account)).toBeNull();
  });

  it('rejects a stop on the wrong side of the price', async () => {
    expect(await codeOfPlacing({ stopLossPrice: '101' })).toBe('STOP_ON_WRONG_SIDE');
    expect(await codeOfPlacing({ side: 'SELL', stopLossPrice: '99' })).toBe('STOP_ON_WRONG_SIDE');
    expect(await codeOfPlacing({ takeProfitPrice: '100' })).toBe('STOP_ON_WRONG_SIDE');
    expect(await codeOfPlacing({ stopLossPrice: '99', takeProfitPrice: '101' })).toBeNull();
  });

  it('replays the same item and refuses another one under its clientOrderId', async () => {
    const item = orderItem({ metadata: { a: [1] } });
    const [first] = (await place(server, [item])).results;
    const again = await place(server, [item, orderItem()], PER_ITEM);
    expect(statusesOf(again)).toEqual(['REPLAYED', 'CREATED']);
    expect(again.results[0]?.order).toEqual(first?.order);
    const other = await place(server, [{ ...item, quantity: '3' }], PER_ITEM);
    expect(other.results[0]).toMatchObject({
      status: 'CONFLICT',
      order: { id: first?.order?.id, quantity: '2' },
      error: { code: 'CLIENT_ID_REUSED', path: ['input', 'items', '0', 'clientOrderId'] },
    });
  });

  it('replays an order that is placed again after it was filled', async () => {
    const item = orderItem();
    await place(server, [item]);
    await record(server, [fillItem(String(item.clientOrderId), { quantity: '2' })]);
    const again = await place(server, [item]);
    expect(again.results[0]).toMatchObject({ status: 'REPLAYED', order: { status: 'FILLED' } });
  });

  it('rejects the second item with the same clientOrderId', async () => {
    const item = orderItem();
    const placed = await place(server, [item, item], PER_ITEM);
    expect(codesOf(placed)).toEqual([null, 'DUPLICATE_IN_BATCH']);
  });

  it('places one order when two requests place it at once', async () => {
    const items = many(20, () => orderItem());
    const both = await Promise.all([place(server, items), place(server, [...items].reverse())]);
    const statuses = both.flatMap(statusesOf);
    expect(statuses.filter((status) => status === 'CREATED')).toHaveLength(20);
    expect(statuses.filter((status) => status === 'REPLAYED')).toHaveLength(20);
  });

  it('refuses everything while the account is HALTED, but knows what was placed', async () => {
    const account = await makeAccount(server);
    const item = orderItem();
    await place(server, [item], { account });
    await server.sql`
      update account_heads set trading_state = 'HALTED' where account_id = ${account}`;
    const placed = await place(
      server,
      [item, orderItem(), orderItem({ side: 'SELL', reduceOnly: true })],
      { ...PER_ITEM, account },
    );
    expect(statusesOf(placed)).toEqual(['REPLAYED', 'REJECTED', 'REJECTED']);
    expect(codesOf(placed)).toEqual([null, 'TRADING_HALTED', 'TRADING_HALTED']);
  });

  it('obeys the state that an earlier field of the same operation sets', async () => {
    const both = `mutation ($state: SetTradingStateInput!, $place: PlaceOrdersInput!) {
      setTradingState(input: $state) { tradingState }
      placeOrders(input: $place) { results { status error { code } } }
    }`;
    const account = await makeAccount(server);
    const run = async (state: string) => {
      const data = await server.data<{ placeOrders: { results: unknown[] } }>(both, {
        state: { account, state, reason: 'test' },
        place: { account, mode: 'PER_ITEM', items: [orderItem()] },
      });
      return data.placeOrders.results[0];
    };
    expect(await run('HALTED')).toMatchObject({ error: { code: 'TRADING_HALTED' } });
    expect(await run('ACTIVE')).toMatchObject({ status: 'CREATED' });
  });

  it('lets only what reduces through while the account is REDUCING', async () => {
    const account = await makeAccount(server, { tradingState: 'REDUCING' });
    expect(await codeOfPlacing({}, account)).toBe('TRADING_REDUCING');
    expect(await codeOfPlacing({ side: 'SELL', reduceOnly: true }, account)).toBeNull();
    const hedged = await makeAccount(server, { tradingState: 'REDUCING', hedgeMode: true });
    expect(await codeOfPlacing({ side: 'SELL', positionSide: 'LONG' }, hedged)).toBeNull();
    expect(await codeOfPlacing({ positionSide: 'LONG' }, hedged)).toBe('TRADING_REDUCING');
  });

  it('checks the tick and the step of a registered instrument', async () => {
    const symbol = makeSymbol();
    await server.sql`
      insert into instruments (exchange, symbol, tick_size, step_size)
      values ('bybit', ${symbol}, 0.1, 0.001)`;
    expect(await codeOfPlacing({ symbol, price: '100.05' })).toBe('OFF_TICK');
    expect(await codeOfPlacing({ symbol, quantity: '0.0015' })).toBe('OFF_STEP');
    expect(
      await codeOfPlacing({ symbol, type: 'STOP_MARKET', price: null, stopPrice: '0.01' }),
    ).toBe('OFF_TICK');
    expect(await codeOfPlacing({ symbol, price: '100.1', quantity: '0.001' })).toBeNull();
    const { id } = await placeOne(server, { symbol });
    const { results } = await amend(server, [{ id, price: '100.01' }], PER_ITEM);
    expect(results[0]?.error?.code).toBe('OFF_TICK');
  });

  it('stores nothing when one item of an ATOMIC batch is refused', async () => {
    const before = await countOrders();
    const items = [orderItem(), orderItem({ price: null })];
    const refusal = refusalOf(await server.request(PLACE, inputOf(items)));
    expect(refusal.extensions).toMatchObject({
      code: 'BATCH_REJECTED',
      items: [
        { index: 0, status: 'NOT_ATTEMPTED' },
        { index: 1, status: 'REJECTED', code: 'BAD_INPUT' },
      ],
    });
    expect(await countOrders()).toBe(before);
  });

  it('answers and stores nothing under VALIDATE_ONLY', async () => {
    const before = await countOrders();
    const item = orderItem();
    const placed = await place(server, [item, orderItem({ price: null })], {
      mode: 'VALIDATE_ONLY',
    });
    expect(statusesOf(placed)).toEqual(['CREATED', 'REJECTED']);
    expect(await countOrders()).toBe(before);
    expect(statusesOf(await place(server, [item]))).toEqual(['CREATED']);
  });

  it('takes three statements for a batch of 1000', async () => {
    server.statements();
    await place(
      server,
      many(1000, () => orderItem({ symbol: 'BTCUSDT' })),
    );
    expect(server.statements()).toEqual([
      'transaction.begin',
      'orders.findPlacingRules',
      'orders.findByClientOrderIds',
      'orders.insertMany',
      'changes.append',
      'transaction.commit',
    ]);
    const tooMany = many(1001, () => orderItem());
    const refusal = refusalOf(await server.request(PLACE, inputOf(tooMany)));
    expect(refusal.extensions.code).toBe('BATCH_TOO_LARGE');
  });

  it('records each order in the log', async () => {
    const { id } = await placeOne(server);
    const { results } = await amend(server, [{ id, status: 'OPEN' }]);
    const data = await server.data<{ changes: { nodes: Item[] } }>(
      `query ($id: ID!) { changes(account: "main", where: { ids: [$id] }) {
        nodes { entity operation ids before after } } }`,
      { id },
    );
    expect(data.changes.nodes).toMatchObject([
      { entity: 'order', operation: 'INSERT', ids: [id], before: null, after: { version: 1 } },
      {
        entity: 'order',
        operation: 'UPDATE',
        before: { status: 'PENDING' },
        after: { status: 'OPEN', version: orderOf(results[0]).version },
      },
    ]);
  });
});
