import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Decimal } from '../../../datasources/decimal.ts';
import { close, open, openOne } from '../../support/documents.ts';
import { type Item, openItem } from '../../support/make.ts';
import { text } from '../../support/performance-model.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { makeAccount } from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ environment: { ANALYTICS_DEADLINE_MS: '600000' } });
});

afterAll(() => server.stop());

const EXPOSURE = `query ($account: ID, $where: PositionWhere) {
  exposure(account: $account, where: $where) {
    openPositions longNotional shortNotional netNotional grossNotional unrealizedPnl
    realizedPnlToday fees asOfSeq
  }
}`;

async function exposure(account: string, where: Item = {}): Promise<Item> {
  return (await server.data<{ exposure: Item }>(EXPOSURE, { account, where })).exposure;
}

async function mark(account: string, prices: Readonly<Record<string, string>>): Promise<void> {
  const items = Object.entries(prices).map(([symbol, price]) => ({
    exchange: 'bybit',
    symbol,
    price,
  }));
  await server.data(
    'mutation ($input: MarkPricesInput!) { markPrices(input: $input) { updated } }',
    { input: { account, items } },
  );
}

const NOTHING = {
  openPositions: 0,
  longNotional: '0',
  shortNotional: '0',
  netNotional: '0',
  grossNotional: '0',
  unrealizedPnl: '0',
  realizedPnlToday: '0',
  fees: '0',
};

describe('exposure', () => {
  it('is zero where nothing is open, as of the head', async () => {
    const account = await makeAccount(server);
    expect(await exposure(account)).toEqual({ ...NOTHING, asOfSeq: '0' });
    const { id } = await openOne(server, openItem(), { account });
    await close(server, [{ id, price: '100' }], { account });
    expect(await exposure(account)).toEqual({ ...NOTHING, asOfSeq: '4' });
  });

  it('values positions at their marks, and at their entries without one', async () => {
    const account = await makeAccount(server);
    const items = [
      openItem({ symbol: 'A', strategy: 'x' }),
      openItem({ symbol: 'B', side: 'SHORT', quantity: '3', entryPrice: '10' }),
      openItem({ symbol: 'C', quantity: '0.5', entryPrice: '7' }),
      openItem({ symbol: 'D', side: 'SHORT', quantity: '4', entryPrice: '5' }),
    ];
    await open(server, items, { account });
    // Of another exchange: not this instrument.
    await server.sql`
      insert into marks (account_id, exchange, symbol, price, at)
      values (${account}, 'okx', 'C', 1000, now())`;
    await mark(account, { A: '110', B: '12.5' });
    expect(await exposure(account)).toEqual({
      openPositions: 4,
      // 2 · 110 + 0.5 · 7
      longNotional: '223.5',
      // 3 · 12.5 + 4 · 5
      shortNotional: '57.5',
      netNotional: '166',
      grossNotional: '281',
      // 2 · 10 − 3 · 2.5
      unrealizedPnl: '12.5',
      realizedPnlToday: '0',
      fees: '0',
      asOfSeq: '9',
    });
    expect(await exposure(account, { symbols: ['B', 'D'] })).toMatchObject({
      openPositions: 2,
      longNotional: '0',
      netNotional: '-57.5',
      grossNotional: '57.5',
    });
    expect(await exposure(account, { strategy: 'x' })).toMatchObject({ openPositions: 1 });
    expect(await exposure(account, { status: ['CLOSED'] })).toMatchObject(NOTHING);
  });

  it('adds up what the positions themselves show, to the last digit', async () => {
    const account = await makeAccount(server);
    const digits = '0.333333333333333333';
    const symbols = ['A', 'B', 'C', 'D', 'E'];
    const items = symbols.map((symbol, place) =>
      openItem({
        symbol,
        side: place % 2 === 0 ? 'LONG' : 'SHORT',
        quantity: `${place}${digits.slice(1)}`,
        entryPrice: `7.00000000000000000${place + 1}`,
      }),
    );
    await open(server, items, { account });
    const prices = symbols.map((symbol, place) => [symbol, `9.12345678901234567${place}`]);
    await mark(account, Object.fromEntries(prices));
    const { positions } = await server.data<{ positions: { nodes: { unrealizedPnl: string }[] } }>(
      'query ($account: ID) { positions(account: $account) { nodes { unrealizedPnl } } }',
      { account },
    );
    const total = positions.nodes.reduce(
      (sum, { unrealizedPnl }) => sum.plus(unrealizedPnl),
      new Decimal(0),
    );
    const notional = (side: string) =>
      items.reduce(
        (sum, item, place) =>
          item.side === side
            ? sum.plus(new Decimal(String(item.quantity)).times(prices[place]?.[1] ?? ''))
            : sum,
        new Decimal(0),
      );
    expect(await exposure(account)).toMatchObject({
      unrealizedPnl: total.toFixed(),
      longNotional: text(notional('LONG')),
      shortNotional: text(notional('SHORT')),
    });
  });

  it('has the profit of today, of open and closed positions, until midnight UTC', async () => {
    const account = await makeAccount(server);
    const [today] = await server.sql<{ start: string }[]>`
      select date_trunc('day', now(), 'UTC') as start`;
    const start = today?.start ?? '';
    const yesterday = new Date(Date.parse(start) - 1).toISOString();
    const openedAt = '2026-01-01T00:00:00Z';
    const make = (symbol: string) => openOne(server, openItem({ symbol, openedAt }), { account });
    const [a, b] = [await make('A'), await make('B')];
    const part = (id: string, closedAt: string, changes: Item = {}) =>
      close(server, [{ id, price: '110', quantity: '0.5', fees: '3', closedAt, ...changes }], {
        account,
      });
    await part(a.id, yesterday);
    await part(a.id, start, { price: '104' });
    await part(a.id, start, { quantity: '1', price: '90' });
    await part(b.id, start);
    // (104 − 100) · 0.5 − 10 · 1 + 10 · 0.5; fees are of what is open.
    expect(await exposure(account)).toMatchObject({
      openPositions: 1,
      realizedPnlToday: '-3',
      fees: '3',
    });
    expect(await exposure(account, { symbols: ['A'] })).toMatchObject({
      openPositions: 0,
      realizedPnlToday: '-8',
    });
    expect(await exposure(account, { ids: [b.id], status: ['OPEN'] })).toMatchObject({
      openPositions: 1,
      realizedPnlToday: '5',
    });
  });

  it('is one statement, so all of it is of one moment', async () => {
    server.statements();
    await exposure('main', { symbols: ['A'] });
    expect(server.statements()).toEqual(['exposure.find']);
  });

  it('shows nothing of another account, and nothing to its key', async () => {
    const [account, stranger] = [await makeAccount(server), await makeAccount(server)];
    await open(server, [openItem({ symbol: 'A' })], { account: stranger });
    await mark(stranger, { A: '110' });
    expect(await exposure(account)).toEqual({ ...NOTHING, asOfSeq: '0' });
    const { token: key } = await server.issueKey('VIEWER', [account]);
    const refused = await server.request(EXPOSURE, { account: stranger }, { key });
    expect(refused.errors[0]?.extensions.code).toBe('FORBIDDEN');
    const own = await server.data<{ exposure: Item }>(EXPOSURE, {}, { key });
    expect(own.exposure).toEqual({ ...NOTHING, asOfSeq: '0' });
  });

  it('says that there is no such account', async () => {
    const { errors } = await server.request(EXPOSURE, { account: 'nobody' });
    expect(errors[0]?.extensions).toMatchObject({ code: 'NOT_FOUND', path: ['account'] });
  });
});
