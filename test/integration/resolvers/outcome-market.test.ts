import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Decimal } from 'decimal.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRandom } from '../../../cli/demo/random.ts';
import {
  accuracyOf,
  type Dimension,
  type ModelDirection,
  type ModelHorizon,
} from '../../support/accuracy-model.ts';
import { predict } from '../../support/documents.ts';
import { horizonItem, type Item, predictionItem } from '../../support/make.ts';
import { accuracy, differencesOf, evaluate, ingest } from '../../support/outcomes.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

/** Ten days of an exchange's minutes, with their gaps: [openTimeMs, open, high, low, close, volume]. */
const REAL_CANDLES = '../shared/data/btc-candles-1m.json';
const MINUTE_MS = 60_000;
const SYMBOL = 'LTCBTC';
const MINUTES = [5, 15, 60, 720];
/** A prediction at the end of every so many candles. */
const EVERY = 4;
const DIRECTIONS = ['LONG', 'SHORT', 'NEUTRAL'] as const;

type Row = readonly [number, ...(readonly number[])];

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

function at(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 23)}000Z`;
}

function toCandle([openTimeMs, open, high, low, close, volume]: Row): Item {
  const prices = Object.entries({ open, high, low, close, volume });
  return {
    exchange: 'bybit',
    symbol: SYMBOL,
    interval: '1m',
    openTime: at(openTimeMs),
    ...Object.fromEntries(prices.map(([name, value]) => [name, new Decimal(value ?? 0).toFixed()])),
  };
}

function makePredictions(rows: readonly Row[]): readonly ModelHorizon[][] {
  const random = createRandom(7, 'market');
  const draw = () => DIRECTIONS[Math.floor(random.next() * 3)] ?? 'LONG';
  return rows
    .filter((_row, place) => place % EVERY === 0)
    .map(([openTimeMs]) =>
      MINUTES.map((horizonMinutes) => ({
        modelVersion: 'market-1',
        symbol: SYMBOL,
        predictedAt: at(openTimeMs + MINUTE_MS),
        horizonMinutes,
        direction: draw(),
        confidence: Math.round(random.next() * 1000) / 1000,
        predictedReturn: Math.round(random.normal() * 500) / 1e5,
        outcome: null,
      })),
    );
}

/** By the definition: the closes at both ends, each of the candle that closes just then. */
function outcomeOf(horizon: ModelHorizon, closes: ReadonlyMap<number, number>) {
  const startMs = Date.parse(horizon.predictedAt);
  const start = closes.get(startMs);
  const end = closes.get(startMs + horizon.horizonMinutes * MINUTE_MS);
  if (start === undefined || end === undefined) return null;
  const change = new Decimal(end).dividedBy(start).minus(1);
  const threshold = { 5: 0.0015, 15: 0.0015, 60: 0.003, 720: 0.01 }[horizon.horizonMinutes] ?? 0;
  const actualDirection: ModelDirection = change.greaterThan(threshold)
    ? 'LONG'
    : change.lessThan(-threshold)
      ? 'SHORT'
      : 'NEUTRAL';
  return { actualReturn: change.toNumber(), actualDirection };
}

async function inBatches(
  items: readonly Item[],
  send: (batch: readonly Item[]) => Promise<unknown>,
): Promise<void> {
  for (let start = 0; start < items.length; start += 1000) {
    await send(items.slice(start, start + 1000));
  }
}

describe.skipIf(!existsSync(REAL_CANDLES))('outcomes of a real market', () => {
  let rows: readonly Row[];
  let horizons: readonly ModelHorizon[];

  beforeAll(async () => {
    rows = JSON.parse(await readFile(REAL_CANDLES, 'utf8'));
    const closes = new Map(rows.map((row) => [row[0] + MINUTE_MS, row[4] ?? 0]));
    const predictions = makePredictions(rows);
    horizons = predictions
      .flat()
      .map((horizon) => ({ ...horizon, outcome: outcomeOf(horizon, closes) }));
    await inBatches(rows.map(toCandle), (batch) => ingest(server, batch));
    const items = predictions.map((own) =>
      predictionItem({
        symbol: SYMBOL,
        interval: '1m',
        modelVersion: 'market-1',
        predictedAt: own[0]?.predictedAt,
        horizons: own.map(({ horizonMinutes, direction, confidence, predictedReturn }) =>
          horizonItem(horizonMinutes, { direction, confidence, predictedReturn }),
        ),
      }),
    );
    await inBatches(items, (batch) => predict(server, batch));
  });

  it('resolves what has its candles and leaves what falls into a gap', async () => {
    const resolved = horizons.filter(({ outcome }) => outcome !== null).length;
    let [sum, hasMore, pending] = [0, true, 0];
    while (hasMore) {
      const batch = await evaluate(server, { limit: 3000 });
      sum += batch.resolved;
      ({ hasMore, pending } = batch);
    }
    expect([sum, pending]).toEqual([resolved, horizons.length - resolved]);
    expect(pending).toBeGreaterThan(300);
    expect(await evaluate(server)).toMatchObject({ resolved: 0, pending });
  });

  it('has the returns and directions of the definition', async () => {
    const found = await server.sql`
      select predicted_at, horizon_minutes, actual_return, actual_direction
      from predictions join prediction_horizons h on h.prediction_id = id
      order by predicted_at, horizon_minutes`;
    const expected = horizons.map(({ outcome }) => ({
      actualReturn: outcome?.actualReturn ?? null,
      actualDirection: outcome?.actualDirection ?? null,
    }));
    const rowsFound = found.map(({ actualReturn, actualDirection }) => ({
      actualReturn,
      actualDirection,
    }));
    expect(differencesOf(rowsFound, expected)).toEqual([]);
  });

  it.each<[readonly Dimension[]]>([[['HORIZON']], [['DAY', 'DIRECTION']], [[]]])(
    'is as accurate as the reference says by %j',
    async (groupBy) => {
      const found = await accuracy(server, { account: 'main', groupBy });
      expect(differencesOf(found, accuracyOf(horizons, groupBy))).toEqual([]);
    },
  );

  it('resolves the gaps when their candles come after all', async () => {
    const [[firstMs] = [0], [lastMs] = [0]] = [rows[0], rows.at(-1)].map((row) => row ?? [0]);
    const known = new Set(rows.map(([openTimeMs]) => openTimeMs));
    const missing: Row[] = [];
    for (let timeMs = firstMs ?? 0; timeMs < (lastMs ?? 0); timeMs += MINUTE_MS) {
      if (!known.has(timeMs)) missing.push([timeMs, 1, 1, 1, 1, 1]);
    }
    await inBatches(missing.map(toCandle), (batch) => ingest(server, batch));
    const before = await evaluate(server, { limit: 1 });
    let batch = before;
    while (batch.hasMore) batch = await evaluate(server);
    // What is left is over after the last candle.
    const endMs = (lastMs ?? 0) + MINUTE_MS;
    const beyond = horizons.filter(
      ({ predictedAt, horizonMinutes }) =>
        Date.parse(predictedAt) + horizonMinutes * MINUTE_MS > endMs,
    );
    expect(batch.pending).toBe(beyond.length);
  });
});
