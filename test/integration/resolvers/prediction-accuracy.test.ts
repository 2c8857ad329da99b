import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPredictionAccuracyRepository } from '../../../datasources/prediction-accuracy.ts';
import { createRandom, type Random } from '../../../cli/demo/random.ts';
import {
  accuracyOf,
  type Dimension,
  type Group,
  type ModelDirection,
  type ModelHorizon,
} from '../../support/accuracy-model.ts';
import { makeCall } from '../../support/call.ts';
import { predict, refusalOf } from '../../support/documents.ts';
import { horizonItem, type Item, predictionItem } from '../../support/make.ts';
import { accuracy, ACCURACY, differencesOf, recordOutcomes } from '../../support/outcomes.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { makeAccount } from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const DIMENSIONS: readonly Dimension[] = [
  'MODEL_VERSION',
  'SYMBOL',
  'HORIZON',
  'DIRECTION',
  'CONFIDENCE_BUCKET',
  'DAY',
];
const DIRECTIONS = ['LONG', 'SHORT', 'NEUTRAL'] as const;

/** Every set of dimensions; the order within it differs, because it orders the answer. */
const GROUPINGS = Array.from({ length: 2 ** DIMENSIONS.length }, (_none, bits) => {
  const chosen = DIMENSIONS.filter((_name, place) => (bits & (2 ** place)) !== 0);
  return bits % 2 === 0 ? chosen : chosen.reverse();
});

interface Prediction {
  readonly item: Item;
  readonly horizons: readonly ModelHorizon[];
}

function pick<T>(random: Random, list: readonly T[]): T {
  const chosen = list[Math.floor(random.next() * list.length)];
  if (chosen === undefined) throw new Error('the list is empty');
  return chosen;
}

/** Over three days on both sides of the end of a month; returns and confidences repeat. */
function makePredictions(count: number): readonly Prediction[] {
  const random = createRandom(4, 'accuracy');
  return Array.from({ length: count }, (_none, place) => {
    const symbol = pick(random, ['AUSDT', 'BUSDT', 'ZUSDT', '1000CUSDT']);
    const modelVersion = pick(random, ['v1', 'v2', 'V3', 'idle']);
    const startMs = Date.UTC(2025, 0, 31) + Math.floor(random.next() * 3 * 1440) * 60_000;
    const predictedAt = `${new Date(startMs + place).toISOString().slice(0, 23)}000Z`;
    const horizons = [15, 60, 240].map((horizonMinutes): ModelHorizon => {
      const actualDirection = pick(random, DIRECTIONS);
      const isPending = modelVersion === 'idle' || random.next() < 0.2;
      return {
        modelVersion,
        symbol,
        predictedAt,
        horizonMinutes,
        direction: random.next() < 0.5 ? actualDirection : pick(random, DIRECTIONS),
        confidence: random.next() < 0.3 ? Math.round(random.next() * 10) / 10 : random.next(),
        predictedReturn: random.next() < 0.1 ? null : Math.round(random.normal() * 20) / 1000,
        outcome: isPending
          ? null
          : { actualReturn: Math.round(random.normal() * 30) / 1000, actualDirection },
      };
    });
    const item = predictionItem({
      symbol,
      modelVersion,
      predictedAt,
      signal: pick(random, DIRECTIONS),
      signalConfidence: random.next(),
      horizons: horizons.map(({ horizonMinutes, direction, confidence, predictedReturn }) =>
        horizonItem(horizonMinutes, { direction, confidence, predictedReturn }),
      ),
    });
    return { item, horizons };
  });
}

async function store(predictions: readonly Prediction[], account: string): Promise<void> {
  const { results } = await predict(
    server,
    predictions.map(({ item }) => item),
    { account },
  );
  const outcomes = predictions.flatMap(({ horizons }, place) =>
    horizons.flatMap(({ horizonMinutes, outcome }) =>
      outcome === null ? [] : [{ predictionId: results[place]?.id, horizonMinutes, ...outcome }],
    ),
  );
  for (let start = 0; start < outcomes.length; start += 1000) {
    await recordOutcomes(server, outcomes.slice(start, start + 1000), { account });
  }
}

describe('predictionAccuracy', () => {
  const predictions = makePredictions(600);
  const horizons = predictions.flatMap((one) => one.horizons);
  let account: string;

  beforeAll(async () => {
    account = await makeAccount(server);
    await store(predictions, account);
  });

  it.each(GROUPINGS.map((groupBy) => [groupBy.join(' ') || 'nothing', groupBy] as const))(
    'agrees with the reference by %s',
    async (_name, groupBy) => {
      const found = await accuracy(server, { account, groupBy });
      expect(differencesOf(found, accuracyOf(horizons, groupBy))).toEqual([]);
    },
  );

  it('is by model and horizon unless it is told otherwise', async () => {
    const expected = accuracyOf(horizons, ['MODEL_VERSION', 'HORIZON']);
    expect(differencesOf(await accuracy(server, { account }), expected)).toEqual([]);
    expect(expected.some((group) => group.modelVersion === 'idle')).toBe(true);
  });

  it('takes a dimension that is named twice once', async () => {
    const groupBy = ['SYMBOL', 'SYMBOL'];
    expect(
      differencesOf(await accuracy(server, { account, groupBy }), accuracyOf(horizons, ['SYMBOL'])),
    ).toEqual([]);
  });

  it('marks groups with few samples and leaves none out', async () => {
    const minSamples = 125;
    const expected = accuracyOf(horizons, ['MODEL_VERSION', 'HORIZON'], minSamples);
    expect(new Set(expected.map(({ lowSample }) => lowSample)).size).toBe(2);
    expect(differencesOf(await accuracy(server, { account, minSamples }), expected)).toEqual([]);
  });

  const isOf = (wanted: Prediction['item'], one: Prediction) =>
    Object.entries(wanted).every(([name, value]) => one.item[name] === value);

  it.each<[string, Item, (one: Prediction) => boolean]>([
    ['symbols', { symbols: ['AUSDT', 'BUSDT'] }, (one) => /^[AB]U/.test(String(one.item.symbol))],
    ['models', { modelVersions: ['v2'] }, (one) => isOf({ modelVersion: 'v2' }, one)],
    ['signal', { signal: ['LONG'] }, (one) => isOf({ signal: 'LONG' }, one)],
    ['confidence', { minConfidence: 0.5 }, (one) => Number(one.item.signalConfidence) >= 0.5],
    ['exchange', { exchange: 'okx' }, () => false],
    ['interval', { interval: '15m' }, () => true],
    [
      'time, its start within and its end without',
      { predictedAt: { from: '2025-01-31T12:00:00Z', to: '2025-02-01T12:00:00Z' } },
      ({ item }) =>
        String(item.predictedAt) >= '2025-01-31T12' && String(item.predictedAt) < '2025-02-01T12',
    ],
    ['resolved', { resolved: true }, (one) => one.horizons.every(({ outcome }) => outcome)],
    ['pending', { resolved: false }, (one) => one.horizons.some(({ outcome }) => !outcome)],
  ])('counts the predictions that match: %s', async (_name, where, matches) => {
    const matching = predictions.filter(matches).flatMap((one) => one.horizons);
    const groupBy = ['HORIZON'];
    expect(
      differencesOf(
        await accuracy(server, { account, where, groupBy }),
        accuracyOf(matching, ['HORIZON']),
      ),
    ).toEqual([]);
  });

  it('is one statement, which ranks nothing unless it is asked to', async () => {
    server.statements();
    const document = ACCURACY.replace('informationCoefficient', 'again: mae');
    await server.data(document, { account });
    await server.data(ACCURACY, { account });
    expect(server.statements()).toEqual(['predictionAccuracy.list', 'predictionAccuracy.list']);
    const ranked = `query ($account: ID, $wanted: Boolean!) {
      predictionAccuracy(account: $account, groupBy: []) {
        ...figures
      }
    }
    fragment figures on PredictionAccuracy {
      ... on PredictionAccuracy { ic: informationCoefficient @include(if: $wanted) }
    }`;
    const [group] = accuracyOf(horizons, []);
    expect(await server.data(ranked, { account, wanted: true })).toEqual({
      predictionAccuracy: [{ ic: expect.closeTo(Number(group?.informationCoefficient), 9) }],
    });
    expect(await server.data(ranked, { account, wanted: false })).toEqual({
      predictionAccuracy: [{}],
    });
  });

  it('ranks as many outcomes as it may and no more', async () => {
    const pairs = horizons.filter(
      ({ predictedReturn, outcome }) => predictedReturn !== null && outcome !== null,
    ).length;
    const sql = server.tradewind.database.analytics.sql(makeCall());
    const repository = createPredictionAccuracyRepository(sql);
    const ask = (pairsMax: number, hasInformationCoefficient = true) =>
      repository.list(account, {}, [], { hasInformationCoefficient, pairsMax, limit: 1 });
    expect(await ask(pairs)).toEqual([
      expect.objectContaining({ informationCoefficient: expect.any(Number) }),
    ]);
    expect(await ask(pairs - 1)).toBeNull();
    expect(await ask(0, false)).toEqual([expect.objectContaining({ total: horizons.length })]);
  });

  it('refuses negative minSamples', async () => {
    const answer = await server.request(ACCURACY, { account, minSamples: -1 });
    expect(answer.errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', path: ['minSamples'] });
  });

  it('needs the permission to read predictions, in the account', async () => {
    const { token } = await server.issueKey('ANALYST', ['main']);
    const { errors } = await server.request(ACCURACY, { account }, { key: token });
    expect(errors[0]?.extensions.code).toBe('FORBIDDEN');
    const own = await server.request(ACCURACY, {}, { key: token });
    expect(own.errors).toEqual([]);
  });
});

describe('predictionAccuracy of few', () => {
  async function accuracyOfOne(changes: readonly Partial<ModelHorizon>[]): Promise<{
    readonly found: Group | undefined;
    readonly expected: Group | undefined;
  }> {
    const account = await makeAccount(server);
    const predictions = changes.map((change, place): Prediction => {
      const horizon: ModelHorizon = {
        modelVersion: 'v1',
        symbol: 'AUSDT',
        predictedAt: `2025-01-31T00:00:0${place}.000000Z`,
        horizonMinutes: 15,
        direction: 'LONG',
        confidence: 0.5,
        predictedReturn: 0.01,
        outcome: { actualReturn: 0.02, actualDirection: 'LONG' },
        ...change,
      };
      const { symbol, modelVersion, predictedAt, ...own } = horizon;
      const { direction, confidence, predictedReturn } = own;
      const horizons = [horizonItem(15, { direction, confidence, predictedReturn })];
      const item = predictionItem({ symbol, modelVersion, predictedAt, horizons });
      return { item, horizons: [horizon] };
    });
    if (predictions.length > 0) await store(predictions, account);
    const [found] = await accuracy(server, { account, groupBy: [] });
    const [expected] = accuracyOf(
      predictions.flatMap((one) => one.horizons),
      [],
    );
    return { found, expected };
  }

  const was = (actualReturn: number, actualDirection: ModelDirection) => ({
    actualReturn,
    actualDirection,
  });

  it.each<[string, readonly Partial<ModelHorizon>[], Group]>([
    ['nothing', [], { total: 0, accuracy: null, brier: null, ece: null, lowSample: true }],
    [
      'what is pending alone',
      [{ outcome: null }, { outcome: null }],
      { total: 2, resolved: 0, pending: 2, correct: 0, accuracy: null, recallLong: null },
    ],
    [
      'one sample',
      [{}],
      { resolved: 1, informationCoefficient: null, precisionLong: 1, precisionShort: null },
    ],
    [
      'a single class',
      [
        { predictedReturn: 0.01, outcome: was(0.02, 'LONG') },
        { predictedReturn: 0.03, outcome: was(0.01, 'LONG') },
        { predictedReturn: 0.02, outcome: was(0.03, 'LONG') },
      ],
      { precisionLong: 1, recallLong: 1, precisionShort: null, recallShort: null },
    ],
    [
      'a return that never varies',
      [{ outcome: was(0.01, 'LONG') }, { outcome: was(0.02, 'LONG') }],
      { informationCoefficient: null, mae: expect.any(Number) },
    ],
    [
      'ties on both sides',
      [
        { predictedReturn: 0.01, outcome: was(0.01, 'LONG') },
        { predictedReturn: 0.01, outcome: was(0.02, 'LONG') },
        { predictedReturn: 0.02, outcome: was(0.02, 'LONG') },
        { predictedReturn: 0.03, outcome: was(-0.01, 'SHORT') },
      ],
      // Ranks 1.5 1.5 3 4 and 2 3.5 3.5 1: -2.25 / 4.5.
      { informationCoefficient: expect.closeTo(-0.5, 12) },
    ],
    [
      'opposite zeros, which are equal',
      [
        { predictedReturn: 0, outcome: was(0, 'LONG') },
        { predictedReturn: -0, outcome: was(0.5, 'LONG') },
        { predictedReturn: 1, outcome: was(-0, 'LONG') },
      ],
      { informationCoefficient: expect.closeTo(-0.5, 12) },
    ],
    [
      'no predicted returns',
      [{ predictedReturn: null }],
      { mae: null, rmse: null, bias: null, informationCoefficient: null, brier: 0.25 },
    ],
    [
      'certainty',
      [{ confidence: 1 }, { confidence: 1 }, { confidence: 0, direction: 'SHORT' }],
      { brier: 0, ece: 0, correct: 2 },
    ],
  ])('is right of %s', async (_name, changes, figures) => {
    const { found, expected } = await accuracyOfOne(changes);
    expect(differencesOf(found, expected)).toEqual([]);
    expect(found).toMatchObject(figures);
  });

  it('has the interval that is printed for 8 of 10', async () => {
    const changes = Array.from({ length: 10 }, (_none, place) => ({
      direction: place < 8 ? ('LONG' as const) : ('SHORT' as const),
    }));
    const { found } = await accuracyOfOne(changes);
    const accuracyFigure = {
      value: 0.8,
      low: expect.closeTo(0.49016, 5),
      high: expect.closeTo(0.94332, 5),
      samples: 10,
    };
    expect(found?.accuracy).toEqual(accuracyFigure);
  });

  it('keeps the interval between 0 and 1', async () => {
    const { found } = await accuracyOfOne([{}, {}]);
    expect(found?.accuracy).toMatchObject({ value: 1, high: 1 });
    const { found: wrong } = await accuracyOfOne([{ direction: 'SHORT' }]);
    expect(wrong?.accuracy).toMatchObject({ value: 0, low: 0 });
  });

  it('refuses more than 10,000 groups', async () => {
    const account = await makeAccount(server);
    await server.sql`select create_prediction_partitions('2025-01-01')`;
    await server.sql`
      insert into predictions (account_id, id, exchange, symbol, interval, model_version,
        predicted_at, signal, signal_confidence, created_at, item_hash)
      select ${account}, overlay(uuid_at('2025-01-01')::text placing lpad(to_hex(n), 12, '0')
        from 25)::uuid, case n when 1 then 'okx' else 'bybit' end, 'S' || n, '15m', 'v1', '2025-01-01', 'LONG', 0.5, now(), ''
      from generate_series(1, 10001) as n`;
    await server.sql`
      insert into prediction_horizons (
        account_id, prediction_id, horizon_minutes, direction, confidence)
      select account_id, id, 15, 'LONG', 0.5 from predictions where account_id = ${account}`;
    const groupBy = ['SYMBOL'];
    const refused = refusalOf(await dataOrNull({ account, groupBy }));
    expect(refused.extensions).toMatchObject({ code: 'QUERY_TOO_EXPENSIVE', groupsMax: 10_000 });
    const where = { exchange: 'bybit' };
    const data = await server.data<{ predictionAccuracy: readonly unknown[] }>(
      `query ($account: ID, $groupBy: [AccuracyDimension!], $where: PredictionWhere) {
        predictionAccuracy(account: $account, groupBy: $groupBy, where: $where) { symbol }
      }`,
      { account, groupBy, where },
    );
    expect(data.predictionAccuracy).toHaveLength(10_000);
  });

  /** The field is nullable: its error leaves data behind. */
  async function dataOrNull(variables: Item) {
    const answer = await server.request<unknown>(ACCURACY, variables);
    return { ...answer, data: null };
  }
});
