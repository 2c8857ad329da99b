import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  insertTrades,
  type MadeTrade,
  makeTrades,
  nearly,
  SERIES,
  type SeriesAnswer,
  seriesVariables,
} from '../../support/ledger-rows.ts';
import { type SeriesPlan, seriesOf } from '../../support/performance-model.ts';
import { SEED } from '../../support/seed.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { makeAccount } from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ environment: { ANALYTICS_DEADLINE_MS: '600000' } });
});

afterAll(() => server.stop());

async function series(account: string, plan: SeriesPlan, where: object = {}) {
  const variables = seriesVariables(account, plan, where);
  return (await server.data<SeriesAnswer>(SERIES, variables)).pnlSeries;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const FILLS = ['NONE', 'NULL', 'ZERO', 'PREVIOUS'] as const;

/** The instants at which the clock is changed. */
const CHANGES = [
  ['Europe/Berlin', 'forward', '2026-03-29T01:00:00Z'],
  ['Europe/Berlin', 'back', '2026-10-25T01:00:00Z'],
  ['America/New_York', 'forward', '2026-03-08T07:00:00Z'],
  ['America/New_York', 'back', '2026-11-01T06:00:00Z'],
  // By half an hour.
  ['Australia/Lord_Howe', 'back', '2026-04-04T15:00:00Z'],
  ['Australia/Lord_Howe', 'forward', '2026-10-03T15:30:00Z'],
  // At midnight: a day begins at one, and another one has its first hour twice.
  ['America/Havana', 'forward', '2026-03-08T05:00:00Z'],
  ['America/Havana', 'back', '2026-11-01T05:00:00Z'],
  // By two hours.
  ['Antarctica/Troll', 'back', '2026-10-25T01:00:00Z'],
] as const;

describe(`pnlSeries against the reference, seed ${SEED}`, () => {
  let account: string;
  let trades: readonly MadeTrade[];

  beforeAll(async () => {
    account = await makeAccount(server);
    const around = CHANGES.flatMap(([, , at]) => {
      const ms = Date.parse(at);
      return makeTrades(40, ms - 20 * HOUR_MS, ms + 20 * HOUR_MS);
    });
    const year = makeTrades(150, Date.UTC(2025, 11, 20), Date.UTC(2026, 11, 3));
    trades = [...around, ...year];
    await insertTrades(server, account, trades);
    const stranger = await makeAccount(server);
    await insertTrades(
      server,
      stranger,
      makeTrades(50, Date.UTC(2026, 0, 1), Date.UTC(2026, 5, 1)),
    );
  });

  const expectReference = async (plan: SeriesPlan) => {
    const expected = seriesOf(trades, plan);
    expect(await series(account, plan), JSON.stringify(plan)).toEqual(nearly(expected));
  };

  it.each(CHANGES)('%s, clock %s: every size and fill', async (timeZone, _direction, at) => {
    const ms = Date.parse(at);
    for (const [place, size] of ['1m', '5m', '15m', '1h', '4h', '1d'].entries()) {
      // Ends within a bucket, on an odd millisecond.
      const from = isoOf(ms - 9 * HOUR_MS - 12_345_678);
      const to = isoOf(ms + (size.endsWith('d') ? 5 * DAY_MS : 7 * HOUR_MS) + 87);
      const fill = FILLS[place % FILLS.length] ?? 'ZERO';
      await expectReference({ size, timeZone, fill, from, to });
      await expectReference({ size, timeZone, fill: 'NULL', from, to: isoOf(ms) });
      await expectReference({ size, timeZone, fill: 'NONE', from: isoOf(ms), to });
    }
  });

  it.each(FILLS)('a whole year with the fill %s', async (fill) => {
    for (const timeZone of ['UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'America/Havana']) {
      for (const size of ['1h', '4h', '1d', '1w', '1mo']) {
        await expectReference({ size, timeZone, fill });
      }
    }
  });

  it.each(FILLS)('one end of the range with the fill %s', async (fill) => {
    const plan = { size: '1d', timeZone: 'Australia/Lord_Howe', fill } as const;
    await expectReference({ ...plan, from: '2026-09-30T11:11:11.000000Z' });
    await expectReference({ ...plan, to: '2026-04-20T11:11:11.000000Z' });
    await expectReference({ ...plan, from: '2024-12-31T11:11:11.000000Z' });
  });

  it('only those that match', async () => {
    const plan = { size: '1w', timeZone: 'UTC', fill: 'ZERO' } as const;
    const symbols = ['XBTUSD', 'SOL/EUR:EUR'];
    const expected = seriesOf(
      trades.filter(({ symbol }) => symbols.includes(symbol)),
      plan,
    );
    expect(await series(account, plan, { symbols })).toEqual(nearly(expected));
    expect((await series(account, plan, { symbols: ['NONE'] })).points).toEqual([]);
  });
});

function isoOf(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
