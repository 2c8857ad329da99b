import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  codesOf,
  inputOf,
  PREDICT,
  predict,
  refusalOf,
  statusesOf,
} from '../../support/documents.ts';
import {
  horizonItem,
  type Item,
  makeSymbol,
  many,
  PREDICTED_AT,
  predictionItem,
} from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const PER_ITEM = { mode: 'PER_ITEM' } as const;

async function partitions(): Promise<readonly string[]> {
  const rows = await server.sql`
    select inhrelid::regclass::text as name from pg_inherits
    where inhparent = 'predictions'::regclass order by 1`;
  return rows.map((row) => String(row.name));
}

async function countOf(table: 'predictions' | 'prediction_horizons'): Promise<number> {
  const [row] = await server.sql.unsafe(`select count(*)::int as count from ${table}`);
  return Number(row?.count);
}

const PREDICTION = `
  exchange symbol interval modelVersion predictedAt price signal signalConfidence riskScore
  inferenceTimeMs features indicators metadata account { id }
  horizons {
    horizonMinutes direction confidence probabilityLong probabilityShort probabilityNeutral
    predictedReturn outcome { correct }
  }`;

describe('logPredictions', () => {
  it('stores a prediction with everything it was given, horizons shortest first', async () => {
    const item = predictionItem({
      interval: '1h',
      predictedAt: '2026-01-02T03:04:05.678901Z',
      price: '64000.123456789012345678',
      signal: 'SHORT',
      riskScore: 0.1,
      inferenceTimeMs: 12.5,
      features: [0.1, -1e-9, 3],
      indicators: { rsi: '55.5' },
      metadata: { run: [1, 2] },
      horizons: [
        horizonItem(240, { direction: 'NEUTRAL' }),
        horizonItem(15, {
          probabilityLong: 0.5,
          probabilityShort: 0.25,
          probabilityNeutral: 0.25,
          predictedReturn: -0.0123,
        }),
      ],
    });
    const document = `mutation ($input: LogPredictionsInput!) {
      logPredictions(input: $input) { results { status prediction { ${PREDICTION} } } }
    }`;
    const { logPredictions } = await server.data<{ logPredictions: unknown }>(
      document,
      inputOf([item]),
    );
    const none = { probabilityLong: null, probabilityShort: null, probabilityNeutral: null };
    expect(logPredictions).toEqual({
      results: [
        {
          status: 'CREATED',
          prediction: {
            ...item,
            account: { id: 'main' },
            horizons: [
              {
                horizonMinutes: 15,
                direction: 'LONG',
                confidence: 0.6,
                probabilityLong: 0.5,
                probabilityShort: 0.25,
                probabilityNeutral: 0.25,
                predictedReturn: -0.0123,
                outcome: null,
              },
              {
                horizonMinutes: 240,
                direction: 'NEUTRAL',
                confidence: 0.6,
                ...none,
                predictedReturn: null,
                outcome: null,
              },
            ],
          },
        },
      ],
    });
  });

  it('stores 1000 predictions of 4 horizons in one insert', async () => {
    const before = [await countOf('predictions'), await countOf('prediction_horizons')];
    const symbols = Array.from({ length: 100 }, makeSymbol);
    const items = many(1000, (index) =>
      predictionItem({
        symbol: symbols[index % 100],
        predictedAt: new Date(Date.parse(PREDICTED_AT) + index * 1000).toISOString(),
        horizons: [15, 60, 240, 720].map((minutes) => horizonItem(minutes)),
      }),
    );
    // The month is there already.
    await predict(server, [predictionItem()]);
    server.statements();
    const { counts } = await predict(server, items);
    expect(counts.created).toBe(1000);
    expect(server.statements()).toEqual([
      'transaction.begin',
      'predictions.insertMany',
      'changes.append',
      'transaction.commit',
    ]);
    expect(await countOf('predictions')).toBe((before[0] ?? 0) + 1001);
    expect(await countOf('prediction_horizons')).toBe((before[1] ?? 0) + 4001);
  });

  it('is one change in the log, whatever the size of the batch', async () => {
    const { results } = await predict(
      server,
      many(3, () => predictionItem()),
    );
    const [change] = await server.sql`
      select entity, operation, ids, count, before, after from changes
      where account_id = 'main' order by seq desc limit 1`;
    expect(change).toMatchObject({
      entity: 'prediction',
      operation: 'INSERT',
      count: 3,
      before: null,
      after: null,
    });
    expect([...(change?.ids ?? [])].sort()).toEqual(
      results.map(({ id }) => id?.replace('prediction.main.', '')).sort(),
    );
  });

  it('makes the partition of a month that has none and runs again', async () => {
    server.statements();
    await predict(server, [predictionItem({ predictedAt: '2016-02-29T23:59:59.999999Z' })]);
    expect(await partitions()).toContain('predictions_2016_02');
    expect(server.statements()).toEqual([
      'transaction.begin',
      'predictions.insertMany',
      'transaction.rollback',
      'predictions.createPartitions',
      'transaction.begin',
      'predictions.insertMany',
      'changes.append',
      'transaction.commit',
    ]);
  });

  it('makes the partitions of all months that a batch needs', async () => {
    const months = ['2017-01-31T23:59:59Z', '2017-02-01T00:00:00Z', '2017-12-31T23:30:00-01:00'];
    const items = months.map((predictedAt) => predictionItem({ predictedAt }));
    expect(statusesOf(await predict(server, items))).toEqual(['CREATED', 'CREATED', 'CREATED']);
    expect(await partitions()).toEqual(
      expect.arrayContaining(['predictions_2017_01', 'predictions_2017_02', 'predictions_2018_01']),
    );
  });

  it('makes the partitions of each field of an operation', async () => {
    const inputs = ['2019-01-01', '2019-05-01', '2019-09-01'].map((day) => ({
      account: 'main',
      items: [predictionItem({ predictedAt: `${day}T00:00:00Z` })],
    }));
    const document = `mutation (
      $a: LogPredictionsInput!, $b: LogPredictionsInput!, $c: LogPredictionsInput!
    ) {
      a: logPredictions(input: $a) { counts { created } }
      b: logPredictions(input: $b) { counts { created } }
      c: logPredictions(input: $c) { counts { created } }
    }`;
    const [a, b, c] = inputs;
    const created = { counts: { created: 1 } };
    expect(await server.data(document, { a, b, c })).toEqual({
      a: created,
      b: created,
      c: created,
    });
  });

  it('makes a partition once for two requests that need it', async () => {
    const both = ['2020-06-01T00:00:00Z', '2020-06-02T00:00:00Z'].map((predictedAt) =>
      predict(server, [predictionItem({ predictedAt })]),
    );
    expect((await Promise.all(both)).map((batch) => statusesOf(batch)[0])).toEqual([
      'CREATED',
      'CREATED',
    ]);
  });

  it('replays the same content and refuses other content under a natural key', async () => {
    const items = many(3, () => predictionItem());
    const first = await predict(server, items);
    const again = await predict(
      server,
      [items[0] ?? {}, { ...items[1], signalConfidence: 0.8 }, predictionItem()],
      PER_ITEM,
    );
    expect(statusesOf(again)).toEqual(['REPLAYED', 'CONFLICT', 'CREATED']);
    expect(codesOf(again)).toEqual([null, 'CONFLICT', null]);
    expect(again.results[1]?.error?.path).toEqual(['input', 'items', '1', 'predictedAt']);
    expect(again.results.slice(0, 2).map(({ id }) => id)).toEqual(
      first.results.slice(0, 2).map(({ id }) => id),
    );
  });

  it('takes horizons for content', async () => {
    const item = predictionItem();
    await predict(server, [item]);
    const batch = await predict(server, [{ ...item, horizons: [horizonItem(30)] }], PER_ITEM);
    expect(statusesOf(batch)).toEqual(['CONFLICT']);
    const rows = await server.sql`
      select horizon_minutes from prediction_horizons
      where prediction_id = ${batch.results[0]?.id?.split('.')[2] ?? ''}`;
    expect([...rows]).toEqual([{ horizonMinutes: 15 }]);
  });

  it.each<[string, Item]>([
    ['model', { modelVersion: 'test-2' }],
    ['exchange', { exchange: 'okx' }],
    ['interval', { interval: '1h' }],
    ['microsecond', { predictedAt: '2026-01-15T12:00:00.000001Z' }],
  ])('is another prediction with another %s', async (_what, changes) => {
    const item = predictionItem();
    const batch = await predict(server, [item, { ...item, ...changes }]);
    expect(statusesOf(batch)).toEqual(['CREATED', 'CREATED']);
  });

  it('stores nothing under ATOMIC when one item meets other content', async () => {
    const item = predictionItem();
    await predict(server, [item]);
    const before = await server.inventory();
    const items = [predictionItem(), { ...item, signal: 'SHORT' }];
    const refusal = refusalOf(await server.request(PREDICT, inputOf(items)));
    expect(refusal.extensions).toMatchObject({
      code: 'BATCH_REJECTED',
      items: [{ status: 'NOT_ATTEMPTED' }, { status: 'CONFLICT', code: 'CONFLICT' }],
    });
    expect(await server.inventory()).toEqual(before);
  });

  it('makes no partition under VALIDATE_ONLY', async () => {
    const partitions = async () => {
      const [row] = await server.sql`
        select count(*)::int as count from pg_inherits
        where inhparent in ('predictions'::regclass, 'prediction_horizons'::regclass)`;
      return row?.count;
    };
    const before = await partitions();
    const item = predictionItem({ predictedAt: '2016-05-05T00:00:00Z' });
    const batch = await predict(server, [item], { mode: 'VALIDATE_ONLY' });
    expect(statusesOf(batch)).toEqual(['CREATED']);
    expect(await partitions()).toBe(before);
  });

  it('stores nothing under VALIDATE_ONLY and knows what is there', async () => {
    const [same, other] = [predictionItem(), predictionItem()];
    await predict(server, [same, other]);
    const before = await server.inventory();
    const items = [same, { ...other, signal: 'SHORT' }, predictionItem()];
    const batch = await predict(server, items, { mode: 'VALIDATE_ONLY' });
    expect(statusesOf(batch)).toEqual(['REPLAYED', 'CONFLICT', 'CREATED']);
    expect(await server.inventory()).toEqual(before);
  });

  it.each<[string, Item, readonly string[]]>([
    ['a confidence above 1', { signalConfidence: 1.000001 }, ['signalConfidence']],
    ['a negative confidence', { signalConfidence: -0.1 }, ['signalConfidence']],
    ['a model without a name', { modelVersion: '' }, ['modelVersion']],
    ['an instant before 2015', { predictedAt: '2014-12-31T23:59:59.999999Z' }, ['predictedAt']],
    ['an instant far ahead', { predictedAt: '2098-01-01T00:00:00Z' }, ['predictedAt']],
    ['1025 features', { features: many(1025, () => ({})).map(() => 0) }, ['features']],
    ['17 horizons', { horizons: many(17, (i) => horizonItem(i + 1)) }, ['horizons']],
    [
      'a horizon given twice',
      { horizons: [horizonItem(15), horizonItem(15)] },
      ['horizons', '1', 'horizonMinutes'],
    ],
    ['a horizon of nothing', { horizons: [horizonItem(0)] }, ['horizons', '0', 'horizonMinutes']],
    [
      'a probability above 1',
      { horizons: [horizonItem(15, { probabilityShort: 1.5 })] },
      ['horizons', '0', 'probabilityShort'],
    ],
  ])('rejects %s', async (_what, changes, path) => {
    const batch = await predict(server, [predictionItem(changes), predictionItem()], PER_ITEM);
    expect(statusesOf(batch)).toEqual(['REJECTED', 'CREATED']);
    expect(batch.results[0]).toMatchObject({
      id: null,
      error: { code: 'BAD_INPUT', path: ['input', 'items', '0', ...path] },
    });
  });

  it('accepts 16 horizons, 1024 features and the first instant of 2015', async () => {
    const item = predictionItem({
      predictedAt: '2015-01-01T00:00:00Z',
      features: many(1024, () => ({})).map((_item, index) => index / 3),
      horizons: many(16, (index) => horizonItem(index + 1)),
    });
    expect(statusesOf(await predict(server, [item]))).toEqual(['CREATED']);
  });

  it('refuses the second item of a batch with the same natural key', async () => {
    const item = predictionItem();
    const batch = await predict(server, [item, { ...item, signal: 'SHORT' }], PER_ITEM);
    expect(codesOf(batch)).toEqual([null, 'DUPLICATE_IN_BATCH']);
  });
});
