import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bookFill, type ModelAccount, textOf, UNIT } from '../support/fill-model.ts';
import {
  GROUPINGS,
  nearly,
  PERFORMANCE,
  SERIES,
  type SeriesAnswer,
  seriesVariables,
} from '../support/ledger-rows.ts';
import type { Item } from '../support/make.ts';
import {
  type PositionRow,
  performanceOf,
  type SeriesPlan,
  seriesOf,
  type TradeRow,
} from '../support/performance-model.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { orderItem, place, record } from '../support/trading.ts';

/** One-minute candles of an exchange, with gaps; beside the repository where it is developed. */
const CANDLES = join(import.meta.dirname, '../../../shared/data/btc-candles-1m.json');

type Candle = readonly [timeMs: number, open: number, high: number, low: number, close: number];

interface CandleFill {
  readonly side: 'BUY' | 'SELL';
  readonly executedAt: string;
  readonly price: string;
  readonly quantity: string;
  readonly commission: string;
}

const HELD_MAX = 2;

/** Trades with the trend at the closes of the candles: it adds, reduces, closes and flips. */
function tradeCandles(candles: readonly Candle[]): readonly CandleFill[] {
  let held = 0;
  return candles.flatMap(([timeMs, open, , , close], place) => {
    if (place % 3 !== 0 || close === open) return [];
    const quantity = 1 + (place % 7) / 8;
    const isBuy = Math.abs(held) >= HELD_MAX ? held < 0 : close > open;
    held += isBuy ? quantity : -quantity;
    return {
      side: isBuy ? 'BUY' : 'SELL',
      executedAt: `${new Date(timeMs + 59_999).toISOString().slice(0, 23)}999Z`,
      price: close.toFixed(8),
      quantity: quantity.toFixed(3),
      commission: (close * 0.0004).toFixed(12),
    };
  });
}

function unitsOf(text: string): bigint {
  const [whole = '0', fraction = ''] = text.split('.');
  return BigInt(whole) * UNIT + BigInt(fraction.padEnd(18, '0'));
}

describe.skipIf(!existsSync(CANDLES))('trades over real candles', () => {
  let server: TestServer;
  let fills: readonly CandleFill[];
  let trades: readonly TradeRow[];
  let positions: readonly PositionRow[];

  beforeAll(async () => {
    server = await startTestServer({
      environment: { DEADLINE_MS: '600000', ANALYTICS_DEADLINE_MS: '600000' },
    });
    const candles = JSON.parse(readFileSync(CANDLES, 'utf8')) as readonly Candle[];
    fills = tradeCandles(candles);
    const symbol = 'XMRBTC';
    await place(
      server,
      (['BUY', 'SELL'] as const).map((side) =>
        orderItem({ clientOrderId: side, symbol, side, quantity: '1000000', strategy: 'trend' }),
      ),
    );
    for (let start = 0; start < fills.length; start += 1000) {
      const items = fills.slice(start, start + 1000).map(
        ({ side, ...fill }, place): Item => ({
          ...fill,
          clientOrderId: side,
          exchangeTradeId: String(start + place),
        }),
      );
      await record(server, items);
    }
    const rows = await server.sql<TradeRow[]>`
      select symbol, price, quantity, realized_pnl, commission, true as "isFee", executed_at
      from trades where account_id = 'main'`;
    trades = [...rows];
    const closed = await server.sql<PositionRow[]>`
      select symbol, strategy, side, realized_pnl, fees, opened_at, closed_at
      from positions where account_id = 'main' and closed_at is not null`;
    positions = [...closed];
  }, 120_000);

  afterAll(() => server.stop());

  it('are enough of them to say something', () => {
    expect(trades.length).toBe(fills.length);
    expect(trades.length).toBeGreaterThan(2000);
    expect(positions.length).toBeGreaterThan(200);
  });

  it('bring what whole numbers say', async () => {
    const account: ModelAccount = {
      isHedged: false,
      orders: (['BUY', 'SELL'] as const).map((side) => ({
        side,
        positionSide: side === 'BUY' ? 'LONG' : 'SHORT',
        quantity: 1_000_000n * UNIT,
        reduceOnly: false,
        status: 'PENDING',
        filled: 0n,
        average: 0n,
      })),
      positions: [],
    };
    for (const { side, price, quantity, commission } of fills) {
      const { code } = bookFill(account, {
        order: side === 'BUY' ? 0 : 1,
        price: unitsOf(price),
        quantity: unitsOf(quantity),
        fee: unitsOf(commission),
      });
      expect(code).toBeNull();
    }
    const closed = account.positions.filter(({ quantity }) => quantity === 0n);
    const results = closed.map(({ pnl, fees }) => pnl - fees);
    const sumOf = (values: readonly bigint[]) => values.reduce((sum, value) => sum + value, 0n);
    const { tradingPerformance } = await server.data<{ tradingPerformance: readonly Item[] }>(
      PERFORMANCE,
      { account: 'main' },
    );
    expect(tradingPerformance).toMatchObject([
      {
        closedPositions: closed.length,
        wins: results.filter((result) => result > 0n).length,
        losses: results.filter((result) => result < 0n).length,
        grossProfit: textOf(sumOf(results.filter((result) => result > 0n))),
        grossLoss: textOf(-sumOf(results.filter((result) => result < 0n))),
        netPnl: textOf(sumOf(results)),
        fees: textOf(sumOf(closed.map(({ fees }) => fees))),
      },
    ]);
    const { pnlSeries } = await server.data<SeriesAnswer>(
      SERIES,
      seriesVariables('main', { size: '1mo', timeZone: 'UTC', fill: 'NONE' }),
    );
    expect(pnlSeries.points).toMatchObject([
      {
        realizedPnl: textOf(sumOf(account.positions.map(({ pnl }) => pnl))),
        fees: textOf(sumOf(account.positions.map(({ fees }) => fees))),
        trades: fills.length,
      },
    ]);
  });

  it.each(GROUPINGS.map((grouping) => [grouping]))('perform as the reference by %j', async (by) => {
    const { tradingPerformance } = await server.data<{ tradingPerformance: readonly Item[] }>(
      PERFORMANCE,
      { account: 'main', groupBy: by },
    );
    expect(tradingPerformance).toEqual(nearly(performanceOf(positions, by)));
  });

  // The first two days: more minutes than that are too many buckets. New York set its clocks back.
  const days = { from: '2017-11-05T00:00:00.000000Z', to: '2017-11-07T00:00:00.000000Z' };
  it.each([
    { size: '1m', timeZone: 'UTC', fill: 'ZERO', ...days },
    { size: '5m', timeZone: 'UTC', fill: 'NONE' },
    { size: '15m', timeZone: 'Asia/Kolkata', fill: 'NULL' },
    { size: '1h', timeZone: 'America/New_York', fill: 'PREVIOUS' },
    { size: '1h', timeZone: 'Asia/Kathmandu', fill: 'ZERO' },
    { size: '4h', timeZone: 'America/New_York', fill: 'ZERO' },
    { size: '1d', timeZone: 'America/New_York', fill: 'NULL' },
    { size: '1w', timeZone: 'Europe/Berlin', fill: 'NONE' },
    { size: '1mo', timeZone: 'UTC', fill: 'ZERO' },
  ] satisfies readonly SeriesPlan[])('run as the reference in $size of $timeZone', async (plan) => {
    const variables = seriesVariables('main', plan);
    const { pnlSeries } = await server.data<SeriesAnswer>(SERIES, variables);
    expect(pnlSeries).toEqual(nearly(seriesOf(trades, plan)));
  });
});
