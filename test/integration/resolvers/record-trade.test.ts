import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codesOf, openOne, statusesOf } from '../../support/documents.ts';
import { type Item, makeSymbol, many, openItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import {
  EXECUTED_AT,
  fillItem,
  makeAccount,
  makeName,
  orderIn,
  placeOne,
  record,
  recordOne,
} from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const PER_ITEM = { mode: 'PER_ITEM' } as const;
const CLOSING = { side: 'SELL', positionSide: 'LONG' };

/** An order at market of one symbol; its name. */
async function order(symbol: string, changes: Item = {}, account = 'main'): Promise<string> {
  const item = { symbol, type: 'MARKET', price: null, quantity: '100', ...changes };
  return (await placeOne(server, item, { account })).clientOrderId;
}

async function codeOf(item: Item, account = 'main'): Promise<string | null> {
  return (await recordOne(server, item, { ...PER_ITEM, account })).error?.code ?? null;
}

describe('recordTrades', () => {
  it('arms a stop that was crossed again when a fill moves it, and leaves it when none does', async () => {
    const symbol = makeSymbol();
    const name = await order(symbol);
    await recordOne(server, fillItem(name, { stopLossPrice: '90', takeProfitPrice: '200' }));
    const item = { exchange: 'bybit', symbol, price: '85' };
    await server.data(
      'mutation ($input: MarkPricesInput!) { markPrices(input: $input) { updated } }',
      { input: { account: 'main', items: [item] } },
    );
    const triggered = async () => {
      const [row] = await server.sql`
        select stop_triggered_kind as kind, stop_loss_price::float8 as stop
        from positions where symbol = ${symbol}`;
      return row;
    };
    expect(await triggered()).toEqual({ kind: 'STOP_LOSS', stop: 90 });
    await recordOne(server, fillItem(name));
    await recordOne(server, fillItem(name, { takeProfitPrice: '210' }));
    expect(await triggered()).toEqual({ kind: 'STOP_LOSS', stop: 90 });
    await recordOne(server, fillItem(name, { stopLossPrice: '80' }));
    expect(await triggered()).toEqual({ kind: null, stop: 80 });
  });

  it('books a fill, its order and the position it opens', async () => {
    const placed = await placeOne(server, { strategy: 'trend', leverage: '5' });
    const fill = fillItem(placed.clientOrderId, { commission: '0.05', commissionAsset: 'USDT' });
    const { trade, order: filled, position, ...result } = await recordOne(server, fill);
    expect(result).toMatchObject({ status: 'CREATED', warnings: [], openedPosition: null });
    expect(trade).toEqual({
      id: expect.stringMatching(/^trade\.main\./),
      side: 'BUY',
      price: '100',
      quantity: '1',
      commission: '0.05',
      commissionAsset: 'USDT',
      realizedPnl: '0',
      exchangeTradeId: fill.exchangeTradeId,
      executedAt: EXECUTED_AT,
    });
    expect(filled).toMatchObject({
      status: 'PARTIALLY_FILLED',
      filledQuantity: '1',
      averagePrice: '100',
      version: 2,
    });
    expect(position).toMatchObject({
      side: 'LONG',
      status: 'OPEN',
      quantity: '1',
      entryPrice: '100',
      leverage: '5',
      fees: '0.05',
      strategy: 'trend',
      openedAt: EXECUTED_AT,
      version: 1,
    });
  });

  it('adds, reduces, closes and flips in one batch, one version a row', async () => {
    const symbol = makeSymbol();
    const buy = await order(symbol);
    const sell = await order(symbol, { side: 'SELL' });
    const recorded = await record(server, [
      fillItem(buy, { quantity: '1', price: '100' }),
      fillItem(buy, { quantity: '3', price: '108' }),
      fillItem(sell, { quantity: '2', price: '116' }),
      fillItem(sell, { quantity: '5', price: '96', commission: '0.5' }),
    ]);
    expect(statusesOf(recorded)).toEqual(['CREATED', 'CREATED', 'CREATED', 'CREATED']);
    expect(recorded.results.map(({ trade }) => trade?.realizedPnl)).toEqual([
      '0',
      '0',
      '20',
      '-20',
    ]);
    const [first, , , flip] = recorded.results;
    expect(first?.position).toMatchObject({
      status: 'CLOSED',
      entryPrice: '106',
      realizedPnl: '0',
      fees: '0.2',
      version: 1,
    });
    expect(flip?.position?.id).toBe(first?.position?.id);
    expect(flip?.openedPosition).toMatchObject({
      side: 'SHORT',
      status: 'OPEN',
      quantity: '3',
      entryPrice: '96',
      fees: '0.3',
      version: 1,
    });
    expect(first?.order).toMatchObject({ filledQuantity: '4', averagePrice: '106', version: 2 });
  });

  it('moves a position that was opened before, and closes what openPositions opened', async () => {
    const opened = await openOne(server, openItem());
    const sell = await order(opened.symbol, { side: 'SELL' });
    const { position, trade } = await recordOne(
      server,
      fillItem(sell, { quantity: '2', price: '90' }),
    );
    expect(position).toMatchObject({ id: opened.id, status: 'CLOSED', realizedPnl: '-20' });
    expect(trade?.realizedPnl).toBe('-20');
  });

  it('opens anew on the side that the same batch closed', async () => {
    const symbol = makeSymbol();
    const buy = await order(symbol);
    const sell = await order(symbol, { side: 'SELL', reduceOnly: true });
    await record(server, [fillItem(buy)]);
    const { results } = await record(server, [fillItem(sell), fillItem(buy), fillItem(sell)]);
    const [closed, opened] = results.map((result) => result.position);
    expect(closed).toMatchObject({ status: 'CLOSED', version: 2 });
    expect(opened).toMatchObject({ status: 'CLOSED', version: 1 });
    expect(opened?.id).not.toBe(closed?.id);
  });

  it('books LONG and SHORT side by side in a hedge account', async () => {
    const account = await makeAccount(server, { hedgeMode: true });
    const symbol = makeSymbol();
    const long = await order(symbol, { positionSide: 'LONG' }, account);
    const short = await order(symbol, { side: 'SELL', positionSide: 'SHORT' }, account);
    const exit = await order(symbol, CLOSING, account);
    const items = [fillItem(long), fillItem(short), fillItem(exit, { quantity: '2' })];
    const recorded = await record(server, items, { ...PER_ITEM, account });
    expect(codesOf(recorded)).toEqual([null, null, 'EXCEEDS_POSITION']);
    expect(recorded.results[1]?.position).toMatchObject({ side: 'SHORT', status: 'OPEN' });
    expect(await codeOf(fillItem(exit), account)).toBeNull();
    expect(await codeOf(fillItem(exit), account)).toBe('NOTHING_TO_REDUCE');
  });

  it('opens nothing with an order that only reduces', async () => {
    const symbol = makeSymbol();
    const exit = await order(symbol, { side: 'SELL', reduceOnly: true });
    expect(await codeOf(fillItem(exit))).toBe('NOTHING_TO_REDUCE');
    await record(server, [fillItem(await order(symbol))]);
    expect(await codeOf(fillItem(exit, { quantity: '1.5' }))).toBe('EXCEEDS_POSITION');
    expect(await codeOf(fillItem(exit))).toBeNull();
  });

  it.each(['CANCELED', 'EXPIRED'])('books the late fills of a %s order', async (status) => {
    const { clientOrderId } = await orderIn(server, status);
    const part = await recordOne(server, fillItem(clientOrderId));
    expect(part.order).toMatchObject({ status, filledQuantity: '1' });
    const full = await recordOne(server, fillItem(clientOrderId));
    expect(full.order).toMatchObject({ status: 'FILLED', filledQuantity: '2' });
  });

  it('refuses fills of a REJECTED order and those above the quantity', async () => {
    const rejected = await orderIn(server, 'REJECTED');
    expect(await codeOf(fillItem(rejected.clientOrderId))).toBe('ORDER_REJECTED');
    const { clientOrderId } = await placeOne(server);
    const tooMuch = fillItem(clientOrderId, { quantity: '2.000000000000000001' });
    const result = await recordOne(server, tooMuch, PER_ITEM);
    expect(result).toMatchObject({
      status: 'CONFLICT',
      trade: null,
      order: { filledQuantity: '0' },
      error: { code: 'EXCEEDS_ORDER', path: ['input', 'items', '0', 'quantity'] },
    });
    expect(await codeOf(fillItem(clientOrderId, { quantity: '2' }))).toBeNull();
    expect(await codeOf(fillItem(clientOrderId))).toBe('EXCEEDS_ORDER');
  });

  it('refuses the same of several fills in one batch', async () => {
    const { clientOrderId } = await placeOne(server);
    const fills = many(3, () => fillItem(clientOrderId));
    const recorded = await record(server, fills, PER_ITEM);
    expect(codesOf(recorded)).toEqual([null, null, 'EXCEEDS_ORDER']);
    expect(recorded.results[0]?.order).toMatchObject({ status: 'FILLED', version: 2 });
  });

  it.each<[string, Item]>([
    ['price', { price: '-1' }],
    ['price', { price: '0' }],
    ['quantity', { quantity: '0' }],
    ['executedAt', { executedAt: '1970-01-01T00:00:00Z' }],
    ['executedAt', { executedAt: new Date(Date.now() + 86_400_000).toISOString() }],
    ['exchangeTradeId', { exchangeTradeId: '' }],
    ['exchangeTradeId', { exchangeTradeId: 'x'.repeat(101) }],
    ['orderId', { orderId: 'order.main.01940000-0000-7000-8000-000000000001' }],
    ['orderId', { clientOrderId: null }],
    [
      'orderId',
      { clientOrderId: null, orderId: 'order.other.01940000-0000-7000-8000-000000000001' },
    ],
  ])('rejects a wrong %s', async (name, changes) => {
    const { clientOrderId } = await placeOne(server);
    const result = await recordOne(server, fillItem(clientOrderId, changes), PER_ITEM);
    expect(result).toMatchObject({
      status: 'REJECTED',
      error: { code: 'BAD_INPUT', path: ['input', 'items', '0', name] },
    });
  });

  it('does not find an unknown order', async () => {
    const unknown = {
      clientOrderId: null,
      orderId: 'order.main.01940000-0000-7000-8000-000000000001',
    };
    const items = [fillItem(makeName()), fillItem('', unknown)];
    const recorded = await record(server, items, PER_ITEM);
    expect(statusesOf(recorded)).toEqual(['NOT_FOUND', 'NOT_FOUND']);
  });

  it('keeps a commission in another asset on the trade alone, with a warning', async () => {
    const { clientOrderId, symbol } = await placeOne(server);
    const fill = fillItem(clientOrderId, { commission: '0.001', commissionAsset: 'BNB' });
    const { trade, position, warnings } = await recordOne(server, fill);
    expect(warnings).toEqual([expect.stringMatching(/^COMMISSION_NOT_IN_QUOTE: 0\.001 BNB/)]);
    expect(trade).toMatchObject({ commission: '0.001', commissionAsset: 'BNB' });
    expect(position?.fees).toBe('0');
    await server.sql`
      insert into instruments (exchange, symbol, quote_asset) values ('bybit', ${symbol}, 'BNB')`;
    const again = fillItem(clientOrderId, { commission: '-0.001', commissionAsset: 'BNB' });
    const rebate = await recordOne(server, again);
    expect(rebate).toMatchObject({ warnings: [], position: { fees: '-0.001' } });
  });

  it('drops a bad stop with a warning and books the fill', async () => {
    const { clientOrderId } = await placeOne(server, { takeProfitPrice: '130' });
    const bad = fillItem(clientOrderId, { stopLossPrice: '100' });
    const { status, position, warnings } = await recordOne(server, bad);
    expect(status).toBe('CREATED');
    expect(position).toMatchObject({ stopLossPrice: null, takeProfitPrice: '130' });
    expect(warnings).toEqual([expect.stringMatching(/^STOP_DROPPED: /)]);
    const negative = fillItem(clientOrderId, { stopLossPrice: '-5' });
    expect(await recordOne(server, negative)).toMatchObject({
      status: 'CREATED',
      warnings: [expect.stringMatching(/^STOP_DROPPED: /)],
    });
  });

  it.each(['HALTED', 'REDUCING'])('books fills while the account is %s', async (state) => {
    const account = await makeAccount(server);
    const name = await order(makeSymbol(), {}, account);
    await server.sql`
      update account_heads set trading_state = ${state} where account_id = ${account}`;
    expect(await codeOf(fillItem(name), account)).toBeNull();
  });
});
