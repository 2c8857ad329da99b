import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Decimal } from '../../../datasources/decimal.ts';
import { close, open, openOne } from '../../support/documents.ts';
import {
  GROUPINGS,
  insertPositions,
  type MadePosition,
  makePositions,
  nearly,
  PERFORMANCE,
} from '../../support/ledger-rows.ts';
import { makeSymbol, openItem } from '../../support/make.ts';
import { type Dimension, performanceOf, text } from '../../support/performance-model.ts';
import { SEED } from '../../support/seed.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { fillItem, makeAccount, orderItem, place, record } from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ environment: { ANALYTICS_DEADLINE_MS: '600000' } });
});

afterAll(() => server.stop());

interface Row {
  readonly symbol: string | null;
  readonly strategy: string | null;
  readonly side: string | null;
  readonly day: string | null;
  readonly closedPositions: number;
  readonly wins: number;
  readonly losses: number;
  readonly grossProfit: string;
  readonly grossLoss: string;
  readonly netPnl: string;
  readonly fees: string;
  readonly averageHoldSeconds: number | null;
}

interface Answer {
  readonly tradingPerformance: readonly Row[];
}

async function performance(
  account: string,
  groupBy: readonly Dimension[] = [],
  where: object = {},
): Promise<readonly Row[]> {
  const variables = { account, groupBy, where };
  return (await server.data<Answer>(PERFORMANCE, variables)).tradingPerformance;
}

const NOTHING = {
  symbol: null,
  strategy: null,
  side: null,
  day: null,
  closedPositions: 0,
  wins: 0,
  losses: 0,
  winRate: null,
  grossProfit: '0',
  grossLoss: '0',
  netPnl: '0',
  fees: '0',
  profitFactor: null,
  expectancy: null,
  averageWin: null,
  averageLoss: null,
  best: null,
  worst: null,
  averageHoldSeconds: null,
};

describe('tradingPerformance', () => {
  it('has one row of zeros where nothing was closed, and none of groups', async () => {
    const account = await makeAccount(server);
    await open(server, [openItem()], { account });
    expect(await performance(account)).toEqual([NOTHING]);
    expect(await performance(account, ['SYMBOL'])).toEqual([]);
  });

  it('counts what was opened and closed without orders, partial closes within their position', async () => {
    const account = await makeAccount(server);
    const make = async (changes: object, parts: readonly object[]) => {
      const item = openItem({ openedAt: '2026-02-01T00:00:00Z', ...changes });
      const { id } = await openOne(server, item, { account });
      for (const part of parts) await close(server, [{ id, ...part }], { account });
    };
    // (110 − 100) · 0.5 + (130 − 100) · 1.5 − 2 = 48
    await make({ strategy: 'a' }, [
      { price: '110', quantity: '0.5', fees: '0.5', closedAt: '2026-02-01T10:00:00Z' },
      { price: '130', fees: '1.5', closedAt: '2026-02-02T00:00:00Z' },
    ]);
    // −(104 − 100) · 2 − 1 = −9
    await make({ side: 'SHORT', strategy: 'a' }, [
      { price: '104', fees: '1', liquidated: true, closedAt: '2026-02-01T12:00:00Z' },
    ]);
    // 1 · 2 − 2 = 0, neither won nor lost
    await make({}, [{ price: '101', fees: '2', closedAt: '2026-02-02T23:59:59.999999Z' }]);
    // Still open: its profit is not counted yet.
    await make({}, [{ price: '500', quantity: '1', closedAt: '2026-02-02T10:00:00Z' }]);
    const total = {
      ...NOTHING,
      closedPositions: 3,
      wins: 1,
      losses: 1,
      winRate: 1 / 3,
      grossProfit: '48',
      grossLoss: '9',
      netPnl: '39',
      fees: '5',
      profitFactor: '5.333333333333333333',
      expectancy: '13',
      averageWin: '48',
      averageLoss: '9',
      best: '48',
      worst: '-9',
      averageHoldSeconds: (86_400 + 43_200 + 172_799.999999) / 3,
    };
    expect(await performance(account)).toEqual([nearly(total)]);
    const days = await performance(account, ['DAY', 'STRATEGY']);
    expect(
      days.map(({ day, strategy, netPnl, closedPositions }) => [
        day,
        strategy,
        netPnl,
        closedPositions,
      ]),
    ).toEqual([
      ['2026-02-01T00:00:00.000000Z', 'a', '-9', 1],
      ['2026-02-02T00:00:00.000000Z', 'a', '48', 1],
      ['2026-02-02T00:00:00.000000Z', null, '0', 1],
    ]);
  });

  it('counts the closed half of a flip, its share of the fee, and each fill once', async () => {
    const account = await makeAccount(server);
    const symbol = makeSymbol();
    const orders = [
      orderItem({ symbol, strategy: 'in', quantity: '10' }),
      orderItem({ symbol, side: 'SELL', strategy: 'out', quantity: '10' }),
    ];
    const placed = await place(server, orders, { account });
    const [buy = '', sell = ''] = placed.results.map(({ order }) => order?.clientOrderId ?? '');
    const at = (hour: number) => ({ executedAt: `2026-02-01T0${hour}:00:00Z` });
    const { counts } = await record(
      server,
      [
        fillItem(buy, { quantity: '1', price: '100', commission: '1', ...at(0) }),
        fillItem(buy, { quantity: '3', price: '104', commission: '1', ...at(1) }),
        // Reduces by 1: (113 − 103) · 1.
        fillItem(sell, { quantity: '1', price: '113', commission: '1', ...at(2) }),
        // Closes 3: (93 − 103) · 3, and opens SHORT 1; a quarter of the fee is of that.
        fillItem(sell, { quantity: '4', price: '93', commission: '4', ...at(3) }),
        // Closes SHORT 1: 93 − 90.
        fillItem(buy, { quantity: '1', price: '90', commission: '0.5', ...at(4) }),
      ],
      { account },
    );
    expect(counts).toMatchObject({ created: 5 });
    const rows = await performance(account, ['SIDE', 'STRATEGY']);
    expect(rows).toMatchObject([
      {
        side: 'LONG',
        strategy: 'in',
        closedPositions: 1,
        netPnl: '-26',
        fees: '6',
        averageHoldSeconds: 3 * 3600,
      },
      { side: 'SHORT', strategy: 'out', netPnl: '1.5', fees: '1.5', averageHoldSeconds: 3600 },
    ]);
    expect(await performance(account)).toMatchObject([
      { closedPositions: 2, wins: 1, losses: 1, netPnl: '-24.5', fees: '7.5' },
    ]);
    // By an order: every position that it moved or opened.
    const [, sold] = placed.results.map(({ order }) => order?.id);
    const moved = await performance(account, [], { orderIds: [sold] });
    expect(moved).toMatchObject([{ closedPositions: 2 }]);
  });
});

const FROM_MS = Date.UTC(2026, 1, 1);

describe(`against the reference, seed ${SEED}`, () => {
  let account: string;
  let positions: readonly MadePosition[];

  beforeAll(async () => {
    account = await makeAccount(server);
    positions = makePositions(400, FROM_MS, FROM_MS + 12 * 86_400_000);
    await insertPositions(server, account, positions);
    const stranger = await makeAccount(server);
    await insertPositions(server, stranger, makePositions(40, FROM_MS, FROM_MS + 86_400_000));
  });

  it.each(GROUPINGS.map((grouping) => [grouping]))('by %j', async (grouping) => {
    const expected = performanceOf(positions, grouping);
    expect(await performance(account, grouping)).toEqual(nearly(expected));
  });

  it('by a dimension that is named twice', async () => {
    const expected = performanceOf(positions, ['DAY']);
    expect(await performance(account, ['DAY', 'DAY'])).toEqual(nearly(expected));
  });

  it('adds up to the row without dimensions', async () => {
    const [whole] = await performance(account);
    const groups = await performance(account, ['SYMBOL', 'STRATEGY', 'SIDE', 'DAY']);
    for (const name of ['grossProfit', 'grossLoss', 'netPnl', 'fees'] as const) {
      const total = groups.reduce((sum, row) => sum.plus(row[name]), new Decimal(0));
      expect(total.toFixed()).toBe(whole?.[name]);
    }
    for (const name of ['closedPositions', 'wins', 'losses'] as const) {
      expect(groups.reduce((sum, row) => sum + row[name], 0)).toBe(whole?.[name]);
    }
  });

  it('over only those that match', async () => {
    const [from, to] = ['2026-02-02T00:00:00.000000Z', '2026-02-04T00:00:00.000000Z'];
    const ids = positions.slice(0, 30).map(({ id }) => id);
    const cases: readonly (readonly [object, (row: MadePosition) => boolean])[] = [
      [{ exchange: 'okx' }, (row) => row.exchange === 'okx'],
      [{ symbols: ['ÜUSDT', 'NONE'] }, (row) => row.symbol === 'ÜUSDT'],
      [{ strategy: 'grid' }, (row) => row.strategy === 'grid'],
      [{ side: 'SELL' }, (row) => row.side === 'LONG'],
      [{ side: 'BUY' }, (row) => row.side === 'SHORT'],
      [{ executedAt: { from } }, (row) => row.closedAt >= from],
      [{ executedAt: { to } }, (row) => row.closedAt < to],
      [
        { executedAt: { from, to }, exchange: 'bybit' },
        (row) => row.closedAt >= from && row.closedAt < to && row.exchange === 'bybit',
      ],
      [
        { positionIds: ids.map((id) => `position.${account}.${id}`) },
        (row) => ids.includes(row.id),
      ],
      [{ symbols: [] }, () => false],
    ];
    for (const [where, matches] of cases) {
      const expected = performanceOf(positions.filter(matches), ['STRATEGY']);
      const found = await performance(account, ['STRATEGY'], where);
      expect(found, JSON.stringify(where)).toEqual(nearly(expected));
    }
  });
});

describe('a quotient', () => {
  const units = fc.bigInt({ min: -(10n ** 38n), max: 10n ** 38n });
  const divisor = fc
    .oneof(fc.bigInt({ min: -2000n, max: 2000n }), fc.bigInt({ min: 1n, max: 10n ** 24n }))
    .filter((value) => value !== 0n);

  it(`is rounded half-even to 18 digits, seed ${SEED}`, async () => {
    const pairs = fc.sample(fc.tuple(units, divisor), { seed: SEED, numRuns: 2000 });
    // Ties, of either sign and parity.
    const ties = [1n, 3n, 5n, -1n, -3n, -5n].map((units) => [units, 2n] as const);
    const all = [...pairs, ...ties].map(([dividend, by]) => ({
      dividend: new Decimal(String(dividend)).div('1e18').toFixed(),
      divisor: String(by),
    }));
    const rows = await server.sql<{ quotient: string }[]>`
      select trim_scale(divide_half_even(dividend, divisor))::text as quotient
      from json_to_recordset(${JSON.stringify(all)}::text::json)
        as pair (dividend numeric, divisor numeric)`;
    const Wide = Decimal.clone({ precision: 120 });
    const expected = all.map((pair) => text(new Wide(pair.dividend).div(pair.divisor)));
    expect(rows.map((row) => row.quotient)).toEqual(expected);
  });
});

describe('a refusal', () => {
  it('meets 10,001 groups and not 10,000', async () => {
    const account = await makeAccount(server);
    const fillUp = (from: number, to: number) => server.sql`
      insert into positions (account_id, id, exchange, symbol, side, status, quantity, entry_price,
        opened_at, updated_at, closed_at)
      select ${account}, gen_random_uuid(), 'bybit', 'S' || n, 'LONG', 'CLOSED', 0, 1, now(), now(),
        now()
      from generate_series(${from}::int, ${to}::int) as n`;
    await fillUp(1, 10_000);
    expect(await performance(account, ['SYMBOL'])).toHaveLength(10_000);
    await fillUp(10_001, 10_001);
    const variables = { account, groupBy: ['SYMBOL'] };
    const { data, errors } = await server.request(PERFORMANCE, variables);
    expect(data).toEqual({ tradingPerformance: null });
    expect(errors[0]?.extensions).toMatchObject({
      code: 'QUERY_TOO_EXPENSIVE',
      path: ['groupBy'],
      rowsMax: 10_000,
    });
  });

  it('meets a key of another account', async () => {
    const account = await makeAccount(server);
    const { token: key } = await server.issueKey('VIEWER', [account]);
    const { errors } = await server.request(PERFORMANCE, { account: 'main' }, { key });
    expect(errors[0]?.extensions.code).toBe('FORBIDDEN');
    const { tradingPerformance } = await server.data<Answer>(PERFORMANCE, {}, { key });
    expect(tradingPerformance).toEqual([NOTHING]);
  });
});

it('is one statement', async () => {
  server.statements();
  await performance('main', ['DAY', 'SYMBOL']);
  expect(server.statements()).toEqual(['tradingPerformance.list']);
});
