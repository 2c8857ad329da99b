import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/documents.ts';
import {
  candleItem,
  horizonItem,
  type Item,
  makeSymbol,
  PREDICTED_AT,
  predictionItem,
} from '../../support/make.ts';
import {
  closing,
  EVALUATE,
  evaluate,
  ingest,
  makeSeries,
  minutesOn,
  outcomesOf,
  predictQuarters,
  recordOutcomes,
  waitingOf,
} from '../../support/outcomes.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { makeAccount } from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

describe('evaluateOutcomes', () => {
  it('compares the closes of the candles that end at both ends of the horizon', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '101', '100', '99.9', '95']);
    const horizons = [
      horizonItem(15, { predictedReturn: 0.02 }),
      horizonItem(30, { direction: 'NEUTRAL', predictedReturn: -0.001 }),
      horizonItem(45),
      horizonItem(60, { direction: 'SHORT' }),
    ];
    const id = await predictQuarters(server, account, { symbol, horizons });
    const batch = await evaluate(server, { account });
    expect(batch).toEqual({
      resolved: 4,
      pending: 0,
      hasMore: false,
      results: [],
      counts: { ...batch.counts, created: 4, rejected: 0 },
    });
    const resolvedAt = expect.stringMatching(/^20\d\d-.*Z$/);
    expect(await outcomesOf(server, id)).toEqual({
      15: {
        actualReturn: 0.01,
        actualDirection: 'LONG',
        correct: true,
        returnError: 0.02 - 0.01,
        resolvedAt,
      },
      30: {
        actualReturn: 0,
        actualDirection: 'NEUTRAL',
        correct: true,
        returnError: -0.001,
        resolvedAt,
      },
      45: {
        actualReturn: -0.001,
        actualDirection: 'NEUTRAL',
        correct: false,
        returnError: null,
        resolvedAt,
      },
      60: {
        actualReturn: -0.05,
        actualDirection: 'SHORT',
        correct: true,
        returnError: null,
        resolvedAt,
      },
    });
    expect(await waitingOf(server, account)).toEqual({ queued: 0, gaps: 0 });
  });

  it('resolves nothing the second time and changes nothing', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '101', null, '102', '103']);
    const id = await predictQuarters(server, account, { symbol });
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 3, pending: 1 });
    const [first, heads] = [await outcomesOf(server, id), await server.inventory()];
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 0, pending: 1 });
    expect(await outcomesOf(server, id)).toEqual(first);
    expect(await server.inventory()).toEqual(heads);
  });

  it('looks at no candle that closes after upTo', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '101', '102', '103', '104']);
    const id = await predictQuarters(server, account, { symbol });
    const almost = '2026-01-15T12:29:59.999999Z';
    expect(await evaluate(server, { account, upTo: almost })).toMatchObject({
      resolved: 1,
      pending: 0,
    });
    expect(await outcomesOf(server, id)).toMatchObject({ 15: { actualReturn: 0.01 }, 30: null });
    expect(await evaluate(server, { account, upTo: minutesOn(30) })).toMatchObject({ resolved: 1 });
    expect(await outcomesOf(server, id)).toMatchObject({ 30: { actualReturn: 0.02 }, 45: null });
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 2, pending: 0 });
  });

  it('takes no candle that has not closed, whatever upTo says', async () => {
    const account = await makeAccount(server);
    const quarterMs = 900_000;
    const nextMs = Math.ceil(Date.now() / quarterMs) * quarterMs;
    const [start = '', end = ''] = [nextMs, nextMs + quarterMs].map((ms) =>
      new Date(ms).toISOString(),
    );
    const symbol = makeSymbol();
    await ingest(server, [closing(symbol, start, '100'), closing(symbol, end, '101')]);
    const horizons = [horizonItem(15)];
    const id = await predictQuarters(server, account, { symbol, predictedAt: start, horizons });
    const upTo = new Date(nextMs + 10 * quarterMs).toISOString();
    expect(await evaluate(server, { account, upTo })).toMatchObject({ resolved: 0, pending: 0 });
    expect(await outcomesOf(server, id)).toEqual({ 15: null });
    expect(await waitingOf(server, account)).toEqual({ queued: 1, gaps: 0 });
  });

  it('leaves what was recorded as it is', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '101', null, '103', '104']);
    const id = await predictQuarters(server, account, { symbol });
    const record = (horizonMinutes: number) => ({
      predictionId: id,
      horizonMinutes,
      actualReturn: 0.5,
      resolvedAt: minutesOn(60),
    });
    await recordOutcomes(server, [record(15), record(60)], { account });
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 1, pending: 1 });
    // One that waits for a candle, too.
    await recordOutcomes(server, [record(30)], { account });
    await ingest(server, [closing(symbol, minutesOn(30), '102')]);
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 0, pending: 0 });
    const recorded = { actualReturn: 0.5, resolvedAt: minutesOn(60) };
    expect(await outcomesOf(server, id)).toMatchObject({
      15: recorded,
      30: recorded,
      45: { actualReturn: 0.03 },
      60: recorded,
    });
    expect(await waitingOf(server, account)).toEqual({ queued: 0, gaps: 0 });
  });

  it('evaluates the account that it is asked for', async () => {
    const [one, other] = [await makeAccount(server), await makeAccount(server)];
    const symbol = await makeSeries(server, ['100', '101', '102', '103', '104']);
    const id = await predictQuarters(server, other, { symbol });
    await predictQuarters(server, one, { symbol });
    expect(await evaluate(server, { account: one })).toMatchObject({ resolved: 4 });
    expect(Object.values(await outcomesOf(server, id))).toEqual([null, null, null, null]);
  });

  it('takes candles of the interval and the exchange of the prediction', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '100', '100', '100', '100']);
    const hour = { symbol, interval: '1h', open: '90', low: '1', high: '200' };
    await ingest(server, [
      candleItem({ ...hour, openTime: '2026-01-15T11:00:00Z', close: '100' }),
      candleItem({ ...hour, openTime: '2026-01-15T12:00:00Z', close: '110' }),
      candleItem({ ...hour, openTime: '2026-01-15T12:00:00Z', close: '120', exchange: 'okx' }),
    ]);
    const id = await predictQuarters(server, account, { symbol, interval: '1h' });
    const elsewhere = await predictQuarters(server, account, {
      symbol,
      interval: '1h',
      exchange: 'okx',
    });
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 1, pending: 7 });
    expect(await outcomesOf(server, id)).toMatchObject({ 15: null, 60: { actualReturn: 0.1 } });
    expect(await outcomesOf(server, elsewhere)).toMatchObject({ 60: null });
  });

  it.each<[string, string, string]>([
    ['1m', '2026-01-15T11:59:00Z', '2026-01-15T12:59:00Z'],
    ['30s', '2026-01-15T11:59:30Z', '2026-01-15T12:59:30Z'],
    ['4h', '2026-01-15T08:00:00Z', '2026-01-15T09:00:00Z'],
    ['1d', '2026-01-14T12:00:00Z', '2026-01-14T13:00:00Z'],
    ['1w', '2026-01-08T12:00:00Z', '2026-01-08T13:00:00Z'],
    ['1mo', '2025-12-15T12:00:00Z', '2025-12-15T13:00:00Z'],
  ])('knows how long a candle of %s lasts', async (interval, first, last) => {
    const account = await makeAccount(server);
    const symbol = makeSymbol();
    await ingest(server, [
      candleItem({ symbol, interval, openTime: first, close: '100' }),
      candleItem({ symbol, interval, openTime: last, close: '99' }),
    ]);
    const id = await predictQuarters(server, account, {
      symbol,
      interval,
      horizons: [horizonItem(60)],
    });
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 1 });
    expect(await outcomesOf(server, id)).toMatchObject({ 60: { actualReturn: -0.01 } });
  });

  it('reaches over months', async () => {
    const account = await makeAccount(server);
    const symbol = makeSymbol();
    const instants = ['2018-01-31T23:45:00Z', '2018-02-01T00:00:00Z', '2018-02-01T00:15:00Z'];
    await ingest(
      server,
      instants.map((at, place) => closing(symbol, at, String(100 + place))),
    );
    const horizons = [horizonItem(15)];
    await predictQuarters(server, account, { symbol, predictedAt: instants[0], horizons });
    await predictQuarters(server, account, { symbol, predictedAt: instants[1], horizons });
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 2, pending: 0 });
  });

  it('takes the thresholds that the account has set', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '101', '102', '103', '104']);
    const put = (value: unknown) =>
      server.data(
        `mutation ($input: PutSettingsInput!) { putSettings(input: $input) { settings { key } } }`,
        { input: { account, items: [{ key: 'outcomes.thresholds', value }] } },
      );
    const id = await predictQuarters(server, account, { symbol });
    for (const value of [7, [], {}, { 15: 1 }, { 15: -0.1 }, { x: 0.1 }, { 15: '0.1' }]) {
      await put(value);
      const refused = await server.request(EVALUATE, { input: { account } });
      expect(refusalOf(refused).extensions.code).toBe('BAD_INPUT');
    }
    await put({ 45: 0.03, 30: 0.015 });
    await evaluate(server, { account });
    expect(await outcomesOf(server, id)).toMatchObject({
      15: { actualDirection: 'NEUTRAL' },
      30: { actualDirection: 'LONG' },
      45: { actualDirection: 'NEUTRAL' },
      60: { actualDirection: 'LONG' },
    });
  });

  it('keeps nothing of an operation that fails after it', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '101', null, '103', '104']);
    const id = await predictQuarters(server, account, { symbol });
    const before = [await waitingOf(server, account), await server.inventory()];
    const answer = await server.request(
      `mutation ($input: EvaluateOutcomesInput!, $bad: RecordOutcomesInput!) {
        evaluateOutcomes(input: $input) { resolved }
        recordOutcomes(input: $bad) { resolved }
      }`,
      {
        input: { account },
        bad: { account, items: [{ predictionId: id, horizonMinutes: 7, actualReturn: 0 }] },
      },
    );
    expect(answer.data).toBeNull();
    expect([await waitingOf(server, account), await server.inventory()]).toEqual(before);
    expect(Object.values(await outcomesOf(server, id))).toEqual([null, null, null, null]);
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 3, pending: 1 });
  });

  it('sees what its own operation has written', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100']);
    const answer = await server.data<{ evaluateOutcomes: unknown }>(
      `mutation ($c: IngestCandlesInput!, $p: LogPredictionsInput!, $e: EvaluateOutcomesInput!) {
        ingestCandles(input: $c) { created }
        logPredictions(input: $p) { counts { created } }
        evaluateOutcomes(input: $e) { resolved pending }
      }`,
      {
        c: { items: [closing(symbol, minutesOn(15), '101')] },
        p: { account, items: [predictionItem({ symbol, predictedAt: PREDICTED_AT })] },
        e: { account },
      },
    );
    expect(answer.evaluateOutcomes).toEqual({ resolved: 1, pending: 0 });
  });

  it.each<[string, Item, string]>([
    ['a limit of 0', { limit: 0 }, 'BAD_INPUT'],
    ['a limit of 10001', { limit: 10_001 }, 'BAD_INPUT'],
    ['an account that is not there', { account: 'nowhere' }, 'NOT_FOUND'],
  ])('refuses %s', async (_what, input, code) => {
    const answer = await server.request(EVALUATE, { input: { account: 'main', ...input } });
    expect(refusalOf(answer).extensions.code).toBe(code);
  });

  it('needs the permission to write predictions, in the account', async () => {
    const account = await makeAccount(server);
    const viewer = await server.issueKey('VIEWER', ['main']);
    const stranger = await server.issueKey('BOT', [account]);
    for (const { token } of [viewer, stranger]) {
      const answer = await server.request(EVALUATE, { input: { account: 'main' } }, { key: token });
      expect(refusalOf(answer).extensions.code).toBe('FORBIDDEN');
    }
    const own = await server.request(EVALUATE, { input: {} }, { key: stranger.token });
    expect(own.errors).toEqual([]);
  });
});
