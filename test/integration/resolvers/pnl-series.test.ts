import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  insertTrades,
  type MadeTrade,
  SERIES,
  type SeriesAnswer,
  seriesVariables,
} from '../../support/ledger-rows.ts';
import { bucketStartsOf, type SeriesPlan } from '../../support/performance-model.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { fillItem, makeAccount, orderItem, place, record } from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ environment: { ANALYTICS_DEADLINE_MS: '600000' } });
});

afterAll(() => server.stop());

async function series(account: string, plan: SeriesPlan, where: object = {}) {
  const variables = seriesVariables(account, plan, where);
  return (await server.data<SeriesAnswer>(SERIES, variables)).pnlSeries;
}

async function refusal(variables: object, key?: string) {
  const options = key === undefined ? {} : { key };
  const { data, errors } = await server.request<SeriesAnswer>(SERIES, variables, options);
  expect(data).toEqual({ pnlSeries: null });
  expect(errors).toHaveLength(1);
  return errors[0]?.extensions;
}

const HOUR_MS = 3_600_000;
const FILLS = ['NONE', 'NULL', 'ZERO', 'PREVIOUS'] as const;

function trade(executedAt: string, realizedPnl: string, changes: Partial<MadeTrade> = {}) {
  return {
    exchange: 'bybit',
    symbol: 'BTCUSDT',
    price: '10',
    quantity: '2',
    realizedPnl,
    commission: '1',
    commissionAsset: null,
    isFee: true,
    executedAt,
    ...changes,
  };
}

describe('pnlSeries', () => {
  it('sums trades by bucket, and follows the level to its trough', async () => {
    const account = await makeAccount(server);
    await insertTrades(server, account, [
      trade('2026-01-05T10:00:00.000000Z', '11'),
      trade('2026-01-05T23:59:59.999999Z', '0'),
      trade('2026-01-07T00:00:00.000000Z', '-4'),
      trade('2026-01-08T12:00:00.000000Z', '3', {
        price: '0.000000001',
        quantity: '0.0000000005',
        commission: '0.5',
        commissionAsset: 'BNB',
      }),
    ]);
    const found = await series(account, { size: '1d', timeZone: 'UTC', fill: 'ZERO' });
    const none = { realizedPnl: '0', fees: '0', volume: '0', trades: 0 };
    expect(found).toEqual({
      points: [
        {
          at: '2026-01-05T00:00:00.000000Z',
          realizedPnl: '11',
          fees: '2',
          volume: '40',
          trades: 2,
          cumulativePnl: '9',
          drawdown: '0',
        },
        { at: '2026-01-06T00:00:00.000000Z', ...none, cumulativePnl: '9', drawdown: '0' },
        {
          at: '2026-01-07T00:00:00.000000Z',
          realizedPnl: '-4',
          fees: '1',
          volume: '20',
          trades: 1,
          cumulativePnl: '4',
          drawdown: '5',
        },
        {
          at: '2026-01-08T00:00:00.000000Z',
          realizedPnl: '3',
          fees: '0',
          // Half of 10^-18 goes to the even one, which is 0.
          volume: '0',
          trades: 1,
          cumulativePnl: '7',
          drawdown: '2',
        },
      ],
      maxDrawdown: '5',
      maxDrawdownFrom: '2026-01-05T00:00:00.000000Z',
      maxDrawdownTo: '2026-01-07T00:00:00.000000Z',
      // 9, 0, -5, 3: mean 1.75, squares about it 102.75, squares below 0 are 25.
      sharpe: expect.closeTo((1.75 / Math.sqrt(102.75 / 3)) * Math.sqrt(365.2425), 10),
      sortino: expect.closeTo((1.75 / Math.sqrt(25 / 4)) * Math.sqrt(365.2425), 10),
    });
  });

  it('measures a fall from the 0 it starts at', async () => {
    const account = await makeAccount(server);
    await insertTrades(server, account, [
      trade('2026-01-06T10:00:00.000000Z', '-1'),
      trade('2026-01-07T10:00:00.000000Z', '-1'),
    ]);
    const range = { from: '2026-01-05T00:00:00.000000Z', to: '2026-01-09T00:00:00.000000Z' };
    for (const fill of FILLS) {
      const found = await series(account, { size: '1d', timeZone: 'UTC', fill, ...range });
      expect(found).toMatchObject({
        maxDrawdown: '4',
        maxDrawdownFrom: '2026-01-05T00:00:00.000000Z',
        maxDrawdownTo: '2026-01-07T00:00:00.000000Z',
      });
    }
  });

  it('is null where a ratio has no value', async () => {
    const account = await makeAccount(server);
    const ratios = async () => {
      const { sharpe, sortino, ...rest } = await series(account, {
        size: '1h',
        timeZone: 'UTC',
        fill: 'ZERO',
      });
      return { sharpe, sortino, maxDrawdown: rest.maxDrawdown, from: rest.maxDrawdownFrom };
    };
    await insertTrades(server, account, [trade('2026-01-05T10:00:00.000000Z', '3')]);
    const nothing = { sharpe: null, sortino: null, maxDrawdown: '0', from: null };
    expect(await ratios()).toEqual(nothing);
    // Two buckets of the same profit do not deviate.
    await insertTrades(server, account, [trade('2026-01-05T11:00:00.000000Z', '3')]);
    expect(await ratios()).toEqual(nothing);
    // One that has won more deviates, but not downwards.
    await insertTrades(server, account, [trade('2026-01-05T11:30:00.000000Z', '5')]);
    expect(await ratios()).toEqual({ ...nothing, sharpe: expect.any(Number) });
  });

  it('begins weeks on Monday and months on their first day, by the clock of the zone', async () => {
    const account = await makeAccount(server);
    await insertTrades(server, account, [
      trade('2026-03-01T04:59:59.999999Z', '1'),
      trade('2026-03-09T03:59:59.999999Z', '1'),
    ]);
    const startsOf = async (size: string) => {
      const { points } = await series(account, {
        size,
        timeZone: 'America/New_York',
        fill: 'NONE',
      });
      return points.map(({ at }) => at);
    };
    expect(await startsOf('1mo')).toEqual([
      '2026-02-01T05:00:00.000000Z',
      '2026-03-01T05:00:00.000000Z',
    ]);
    expect(await startsOf('1w')).toEqual([
      '2026-02-23T05:00:00.000000Z',
      '2026-03-02T05:00:00.000000Z',
    ]);
    expect(await startsOf('1d')).toEqual([
      '2026-02-28T05:00:00.000000Z',
      '2026-03-08T05:00:00.000000Z',
    ]);
  });

  it.each([
    ['Europe/Berlin', '2026-03-29', 23, 23],
    ['Europe/Berlin', '2026-10-25', 25, 25],
    ['America/New_York', '2026-03-08', 23, 23],
    ['America/New_York', '2026-11-01', 25, 25],
    // 23.5 and 24.5 hours: half of an hour is left out, or repeated within one.
    ['Australia/Lord_Howe', '2026-10-04', 23.5, 24],
    ['Australia/Lord_Howe', '2026-04-05', 24.5, 24],
  ])('gives %s the %s its %d hours', async (timeZone, day, hours, points) => {
    const account = await makeAccount(server);
    const noon = Date.parse(`${day}T12:00:00Z`);
    const [from, to] = dayOf(timeZone, noon);
    expect((to - from) / HOUR_MS).toBe(hours);
    const plan = { timeZone, fill: 'ZERO', from: isoOf(from), to: isoOf(to) } as const;
    const days = await series(account, { ...plan, size: '1d' });
    expect(days.points.map(({ at }) => at)).toEqual([isoOf(from)]);
    expect((await series(account, { ...plan, size: '1h' })).points).toHaveLength(points);
    expect((await series(account, { ...plan, size: '4h' })).points).toHaveLength(6);
    expect((await series(account, { ...plan, size: '15m' })).points).toHaveLength(hours * 4);
  });
});

/** The day of a zone that an instant is in. */
function dayOf(timeZone: string, ms: number): readonly [number, number] {
  const [from = 0] = bucketStartsOf('1d', timeZone, ms, ms);
  const [, to = 0] = bucketStartsOf('1d', timeZone, from, from + 30 * HOUR_MS);
  return [from, to];
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}

describe('without trades', () => {
  const plan = { size: '1h', timeZone: 'UTC', fill: 'ZERO' } as const;
  const [from, to] = ['2026-01-01T00:00:00.000000Z', '2026-01-01T03:00:00.000000Z'];
  const figures = {
    maxDrawdown: '0',
    maxDrawdownFrom: null,
    maxDrawdownTo: null,
    sharpe: null,
    sortino: null,
  };

  it('there are no points, unless the range has both ends', async () => {
    const account = await makeAccount(server);
    for (const range of [{}, { from }, { to }, { from: to, to: from }, { from, to: from }]) {
      expect(await series(account, { ...plan, ...range })).toEqual({ points: [], ...figures });
    }
    const { points } = await series(account, { ...plan, from, to });
    expect(points.map(({ trades }) => trades)).toEqual([0, 0, 0]);
  });

  it.each([
    ['NONE', []],
    ['NULL', [null, null, null]],
    ['PREVIOUS', [null, null, null]],
  ] as const)('the fill %s invents nothing', async (fill, expected) => {
    const account = await makeAccount(server);
    const { points, ...rest } = await series(account, { ...plan, fill, from, to });
    expect(points.map(({ realizedPnl }) => realizedPnl)).toEqual(expected);
    expect(rest).toEqual(figures);
  });
});

describe('fees', () => {
  it('are those of the positions, whatever a commission is in', async () => {
    const account = await makeAccount(server);
    await server.sql`
      insert into instruments (exchange, symbol, quote_asset) values ('bybit', 'QQBTC', 'QQ')`;
    const symbols = ['AUSDT', 'A-USDT-SWAP', 'A/USDT:USDT', 'A_USDT', 'USDT', 'QQBTC', 'USDTA'];
    const orders = symbols.map((symbol) => orderItem({ symbol, quantity: '100' }));
    const placed = await place(server, orders, { account });
    const assets = [null, 'USDT', 'A', 'SWAP', 'BTC', 'QQ', 'T', 'SDT'];
    const fills = placed.results.flatMap(({ order }, row) =>
      assets.map((commissionAsset, column) =>
        fillItem(order?.clientOrderId ?? '', {
          commission: String(2 ** (row + 7 * (column % 4))),
          commissionAsset,
        }),
      ),
    );
    const { counts } = await record(server, fills, { account });
    expect(counts).toMatchObject({ created: fills.length });
    const plan = { size: '1d', timeZone: 'UTC', fill: 'NONE' } as const;
    for (const symbol of symbols) {
      const [position] = await server.sql<{ fees: string }[]>`
        select trim_scale(fees)::text as fees from positions
        where account_id = ${account} and symbol = ${symbol}`;
      const { points } = await series(account, plan, { symbols: [symbol] });
      expect(points, symbol).toMatchObject([{ fees: position?.fees }]);
    }
  });
});

describe('a refusal', () => {
  const range = (buckets: number) => ({
    from: '2026-01-01T00:00:00Z',
    to: isoOf(Date.UTC(2026, 0, 1) + buckets * 60_000),
  });

  it('meets 10,001 buckets and not 10,000', async () => {
    const account = await makeAccount(server);
    const bucket = { size: '1m', fill: 'ZERO' };
    const most = { account, where: { executedAt: range(10_000) }, bucket };
    const { pnlSeries } = await server.data<SeriesAnswer>(SERIES, most);
    expect(pnlSeries.points).toHaveLength(10_000);
    expect(await refusal({ account, where: { executedAt: range(10_001) }, bucket })).toMatchObject({
      code: 'QUERY_TOO_EXPENSIVE',
      path: ['bucket', 'size'],
    });
    const ages = { from: '0101-01-01T00:00:00Z', to: '9998-01-01T00:00:00Z' };
    for (const size of ['1m', '1h', '1d', '1mo']) {
      const variables = { account, where: { executedAt: ages }, bucket: { size } };
      expect((await refusal(variables))?.code).toBe('QUERY_TOO_EXPENSIVE');
    }
  });

  it.each(['2h', '1M', '', '1 minute'])('meets the size %j', async (size) => {
    expect(await refusal({ account: 'main', bucket: { size } })).toMatchObject({
      code: 'BAD_INPUT',
      path: ['bucket', 'size'],
    });
  });

  it.each([
    'Mars/Olympus_Mons',
    'CET',
    '+02:00',
    'Europe/Berlin5',
    '',
    '../etc/passwd',
    "Europe/Berlin'; select 1",
  ])('meets the time zone %j', async (timeZone) => {
    const bucket = { size: '1d', timeZone };
    expect(await refusal({ account: 'main', bucket })).toMatchObject({
      code: 'BAD_INPUT',
      path: ['bucket', 'timeZone'],
    });
  });

  it('meets a key of another account, and a foreign id', async () => {
    const account = await makeAccount(server);
    const { token } = await server.issueKey('ANALYST', [account]);
    const bucket = { size: '1d' };
    expect((await refusal({ account: 'main', bucket }, token))?.code).toBe('FORBIDDEN');
    const positionIds = ['position.main.01990000-0000-7000-8000-000000000000'];
    expect(await refusal({ account, where: { positionIds }, bucket })).toMatchObject({
      code: 'BAD_INPUT',
      path: ['where', 'positionIds', '0'],
    });
    const { pnlSeries } = await server.data<SeriesAnswer>(SERIES, { bucket }, { key: token });
    expect(pnlSeries.points).toEqual([]);
  });

  it('takes null for what has a default', async () => {
    const account = await makeAccount(server);
    const bucket = { size: '1d', timeZone: null, fill: null };
    const { pnlSeries } = await server.data<SeriesAnswer>(SERIES, { account, bucket });
    expect(pnlSeries.points).toEqual([]);
  });
});

it('is one statement', async () => {
  server.statements();
  await series('main', { size: '1d', timeZone: 'UTC', fill: 'ZERO' });
  expect(server.statements()).toEqual(['pnlSeries.find']);
});
