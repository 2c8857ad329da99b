import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRandom } from '../../../cli/demo/random.ts';
import { predict } from '../../support/documents.ts';
import { type Item, predictionItem } from '../../support/make.ts';
import { differencesOf } from '../../support/outcomes.ts';
import { bucketStartsOf } from '../../support/performance-model.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { makeAccount } from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const DAY_MS = 86_400_000;
const STATS = `query ($account: ID, $where: PredictionWhere, $bucket: BucketInput) {
  predictionStats(account: $account, where: $where, bucket: $bucket) {
    at total long short neutral meanConfidence meanRisk symbols inferenceMsMean inferenceMsP95
    perMinute
  }
}`;

interface Said {
  readonly atMs: number;
  readonly symbol: string;
  readonly signal: 'LONG' | 'SHORT' | 'NEUTRAL';
  readonly signalConfidence: number;
  readonly riskScore: number | null;
  readonly inferenceTimeMs: number | null;
}

type Stats = Readonly<Record<string, unknown>>;

async function stats(variables: Item): Promise<readonly Stats[]> {
  const data = await server.data<{ predictionStats: readonly Stats[] }>(STATS, variables);
  return data.predictionStats;
}

/** Over the weekend on which Berlin sets its clocks back, with an empty Sunday afternoon. */
function makeSaid(count: number): readonly Said[] {
  const random = createRandom(11, 'stats');
  const startMs = Date.UTC(2025, 9, 25);
  return Array.from({ length: count }, (_none, place): Said => {
    const day = random.next() < 0.5 ? 0 : 2;
    return {
      atMs: startMs + day * DAY_MS + Math.floor(random.next() * DAY_MS * 0.9) + place,
      symbol: `S${Math.floor(random.next() * 7)}USDT`,
      signal: (['LONG', 'SHORT', 'NEUTRAL'] as const)[Math.floor(random.next() * 3)] ?? 'LONG',
      signalConfidence: random.next(),
      riskScore: random.next() < 0.3 ? null : random.next(),
      inferenceTimeMs: random.next() < 0.3 ? null : 20 * random.next(),
    };
  });
}

async function store(said: readonly Said[], account: string): Promise<void> {
  const items = said.map(({ atMs, ...own }) =>
    predictionItem({ ...own, predictedAt: new Date(atMs).toISOString(), horizons: [] }),
  );
  await predict(server, items, { account });
}

function mean(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}

function percentile95(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null).sort((a, b) => a - b);
  return known[Math.ceil(known.length * 0.95) - 1] ?? null;
}

function statsOf(said: readonly Said[], atMs: number | null, minutes: number): Stats {
  const of = (signal: string) => said.filter((one) => one.signal === signal).length;
  return {
    at: atMs === null ? null : instantOf(atMs),
    total: said.length,
    long: of('LONG'),
    short: of('SHORT'),
    neutral: of('NEUTRAL'),
    meanConfidence: mean(said.map(({ signalConfidence }) => signalConfidence)),
    meanRisk: mean(said.map(({ riskScore }) => riskScore)),
    symbols: new Set(said.map(({ symbol }) => symbol)).size,
    inferenceMsMean: mean(said.map(({ inferenceTimeMs }) => inferenceTimeMs)),
    inferenceMsP95: percentile95(said.map(({ inferenceTimeMs }) => inferenceTimeMs)),
    perMinute: minutes === 0 ? null : said.length / minutes,
  };
}

function instantOf(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 23)}000Z`;
}

/** Bucket by bucket, each with its own length. */
function seriesOf(
  said: readonly Said[],
  { size, timeZone, fill }: { size: string; timeZone: string; fill: string },
  [firstMs, lastMs]: readonly [number, number],
): readonly Stats[] {
  const starts = bucketStartsOf(size, timeZone, firstMs, lastMs + 70 * DAY_MS);
  let previous: Stats = statsOf([], null, 0);
  return starts.flatMap((startMs, place) => {
    const endMs = starts[place + 1] ?? Number.NaN;
    if (startMs > lastMs) return [];
    const own = said.filter(({ atMs }) => atMs >= startMs && atMs < endMs);
    const values = statsOf(own, startMs, (endMs - startMs) / 60_000);
    if (own.length > 0) {
      previous = values;
      return [values];
    }
    if (fill === 'NONE') return [];
    if (fill === 'PREVIOUS') return [{ ...previous, at: values.at }];
    return [{ ...values, perMinute: fill === 'ZERO' ? 0 : null }];
  });
}

describe('predictionStats', () => {
  const said = makeSaid(700).toSorted((a, b) => a.atMs - b.atMs);
  const [firstMs, lastMs] = [said[0]?.atMs ?? 0, said.at(-1)?.atMs ?? 0];
  let account: string;

  beforeAll(async () => {
    account = await makeAccount(server);
    await store(said, account);
  });

  it('is one row without buckets, by the minutes from the first to the last', async () => {
    const expected = [statsOf(said, null, (lastMs - firstMs) / 60_000)];
    expect(differencesOf(await stats({ account }), expected)).toEqual([]);
  });

  it('is by the minutes of the range where that is given', async () => {
    const [fromMs, toMs] = [firstMs - 600_000, firstMs + DAY_MS];
    const own = said.filter(({ atMs }) => atMs < toMs);
    const where = { predictedAt: { from: instantOf(fromMs), to: instantOf(toMs) } };
    const expected = [statsOf(own, null, (toMs - fromMs) / 60_000)];
    expect(differencesOf(await stats({ account, where }), expected)).toEqual([]);
  });

  const plans = ['1m', '15m', '1h', '4h', '1d', '1w', '1mo'].flatMap((size) =>
    ['UTC', 'Europe/Berlin', 'Asia/Kathmandu'].flatMap((timeZone) =>
      ['NONE', 'NULL', 'ZERO', 'PREVIOUS'].map((fill) => ({ size, timeZone, fill })),
    ),
  );

  it.each(plans)('agrees with the reference: $size $timeZone $fill', async (bucket) => {
    const expected = seriesOf(said, bucket, [firstMs, lastMs]);
    expect(differencesOf(await stats({ account, bucket }), expected)).toEqual([]);
  });

  it('shows the whole range that is asked for', async () => {
    const bucket = { size: '1h', timeZone: 'Europe/Berlin', fill: 'PREVIOUS' };
    const [fromMs, toMs] = [firstMs - DAY_MS, lastMs + DAY_MS];
    const where = { predictedAt: { from: instantOf(fromMs), to: instantOf(toMs) } };
    const expected = seriesOf(said, bucket, [fromMs, toMs - 0.001]);
    expect(expected[0]).toMatchObject({ total: 0, meanConfidence: null });
    expect(differencesOf(await stats({ account, where, bucket }), expected)).toEqual([]);
  });

  it('counts what matches', async () => {
    const where = { symbols: ['S1USDT'], signal: ['LONG', 'NEUTRAL'], minConfidence: 0.25 };
    const own = said.filter(
      ({ symbol, signal, signalConfidence }) =>
        symbol === 'S1USDT' && signal !== 'SHORT' && signalConfidence >= 0.25,
    );
    const bucket = { size: '4h', timeZone: 'UTC', fill: 'ZERO' };
    const expected = seriesOf(own, bucket, [own[0]?.atMs ?? 0, own.at(-1)?.atMs ?? 0]);
    expect(differencesOf(await stats({ account, where, bucket }), expected)).toEqual([]);
  });

  it('is one statement, which sorts no times unless it is asked to', async () => {
    server.statements();
    const bucket = { size: '1d' };
    const short = STATS.replace('inferenceMsP95', '');
    expect(await server.data(short, { account, bucket })).toMatchObject({
      predictionStats: [{ total: expect.any(Number) }, { total: 0 }, { total: expect.any(Number) }],
    });
    await stats({ account, bucket });
    await stats({ account });
    expect(server.statements()).toEqual([
      'predictionStats.list',
      'predictionStats.list',
      'predictionStats.get',
    ]);
  });

  it('has nothing to say of nothing', async () => {
    const empty = await makeAccount(server);
    const none = statsOf([], null, 0);
    expect(await stats({ account: empty })).toEqual([none]);
    expect(await stats({ account: empty, bucket: { size: '1d' } })).toEqual([]);
    const where = { predictedAt: { from: '2025-01-01T00:00:00Z', to: '2025-01-03T00:00:00Z' } };
    const found = await stats({ account: empty, where, bucket: { size: '1d' } });
    expect(found).toEqual([
      { ...none, at: '2025-01-01T00:00:00.000000Z', perMinute: 0 },
      { ...none, at: '2025-01-02T00:00:00.000000Z', perMinute: 0 },
    ]);
  });

  it('has no rate of a single instant', async () => {
    const lonely = await makeAccount(server);
    const one = said.slice(0, 1);
    await store(one, lonely);
    expect(differencesOf(await stats({ account: lonely }), [statsOf(one, null, 0)])).toEqual([]);
  });

  it.each<[string, Item, string, readonly string[]]>([
    ['a size', { size: '2m' }, 'BAD_INPUT', ['bucket', 'size']],
    ['a time zone', { size: '1d', timeZone: 'Mars/Base' }, 'BAD_INPUT', ['bucket', 'timeZone']],
    ['too many buckets', { size: '1m' }, 'QUERY_TOO_EXPENSIVE', ['bucket', 'size']],
  ])('refuses %s', async (_what, bucket, code, path) => {
    // 10,001 minutes.
    const where = { predictedAt: { from: '2025-01-01T00:00:00Z', to: '2025-01-07T22:41:00Z' } };
    const { errors } = await server.request(STATS, { account, where, bucket });
    expect(errors[0]?.extensions).toMatchObject({ code, path });
  });

  it('gives as many buckets as are allowed', async () => {
    const where = { predictedAt: { from: '2025-01-01T00:00:00Z', to: '2025-01-07T22:40:00Z' } };
    expect(await stats({ account, where, bucket: { size: '1m' } })).toHaveLength(10_000);
  });

  it('needs the permission to read predictions, in the account', async () => {
    const { token } = await server.issueKey('VIEWER', ['main']);
    const { errors } = await server.request(STATS, { account }, { key: token });
    expect(errors[0]?.extensions.code).toBe('FORBIDDEN');
  });
});
