import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMaintainer } from '../../../datasources/maintainer.ts';
import { createUnitsOfWork } from '../../../datasources/unit-of-work.ts';
import { predict } from '../../support/documents.ts';
import { horizonItem, makeSymbol, many, PREDICTED_AT, predictionItem } from '../../support/make.ts';
import {
  closing,
  evaluate,
  ingest,
  makeSeries,
  minutesOn,
  outcomesOf,
  predictQuarters,
  quarters,
  waitingOf,
} from '../../support/outcomes.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { makeAccount } from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

describe('the queue of evaluateOutcomes', () => {
  it('leaves a horizon without its candles pending until they have come', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, [null, '101', null, '103', '104']);
    const id = await predictQuarters(server, account, { symbol });
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 0, pending: 4 });
    expect(await waitingOf(server, account)).toEqual({ queued: 0, gaps: 4 });
    await ingest(server, [closing(symbol, PREDICTED_AT, '100')]);
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 3, pending: 1 });
    await ingest(server, [closing(symbol, minutesOn(30), '102')]);
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 1, pending: 0 });
    expect(await outcomesOf(server, id)).toMatchObject({
      15: { actualReturn: 0.01 },
      30: { actualReturn: 0.02 },
      45: { actualReturn: 0.03 },
      60: { actualReturn: 0.04 },
    });
    expect(await waitingOf(server, account)).toEqual({ queued: 0, gaps: 0 });
  });

  it('does not read again what lacks a candle, and goes on behind it', async () => {
    const account = await makeAccount(server);
    const nowhere = makeSymbol();
    const symbol = await makeSeries(server, ['100', '101', '102', '103', '104']);
    const lost = many(5, (place) =>
      predictionItem({ symbol: nowhere, modelVersion: `m${place}`, predictedAt: PREDICTED_AT }),
    );
    await predict(server, lost, { account });
    const id = await predictQuarters(server, account, {
      symbol,
      predictedAt: minutesOn(15),
      horizons: [horizonItem(15)],
    });
    const first = await evaluate(server, { account, limit: 5 });
    expect(first).toMatchObject({ resolved: 0, pending: 6, hasMore: true });
    const second = await evaluate(server, { account, limit: 5 });
    expect(second).toMatchObject({ resolved: 1, pending: 5, hasMore: false });
    expect(await outcomesOf(server, id)).toMatchObject({ 15: { actualDirection: 'LONG' } });
    // Candles of others, and of later instants, wake nobody.
    await ingest(server, [
      closing(nowhere, minutesOn(45), '100'),
      closing(symbol, minutesOn(75), '100'),
    ]);
    server.statements();
    expect(await evaluate(server, { account, limit: 5 })).toMatchObject({ resolved: 0 });
    expect(server.statements()).not.toContain('outcomeQueue.finish');
  });

  it('looks at the oldest first, up to the limit', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '101', '102', '103', '104', '105']);
    const [old, young] = [
      await predictQuarters(server, account, { symbol }),
      await predictQuarters(server, account, { symbol, predictedAt: minutesOn(15) }),
    ];
    const calls = [];
    for (let call = 0; call < 4; call += 1)
      calls.push(await evaluate(server, { account, limit: 3 }));
    expect(calls.map(({ resolved, pending, hasMore }) => [resolved, pending, hasMore])).toEqual([
      [3, 5, true],
      [3, 2, true],
      [2, 0, false],
      [0, 0, false],
    ]);
    const outcomes = [await outcomesOf(server, old), await outcomesOf(server, young)];
    expect(outcomes.flatMap(Object.values)).not.toContain(null);
  });

  it('takes the ends that are over first, whichever prediction they are of', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '101', '102', '103', '104']);
    const old = await predictQuarters(server, account, { symbol, horizons: [horizonItem(60)] });
    const young = await predictQuarters(server, account, {
      symbol,
      predictedAt: minutesOn(15),
      horizons: [horizonItem(15)],
    });
    await evaluate(server, { account, limit: 1 });
    expect(await outcomesOf(server, old)).toEqual({ 60: null });
    expect(await outcomesOf(server, young)).toMatchObject({ 15: { correct: true } });
  });

  it('resolves each horizon once when two evaluate at the same time', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '101', '102', '103', '104']);
    const items = many(50, (place) =>
      predictionItem({
        symbol,
        modelVersion: `m${place}`,
        predictedAt: PREDICTED_AT,
        horizons: quarters(),
      }),
    );
    await predict(server, items, { account });
    const both = await Promise.all([evaluate(server, { account }), evaluate(server, { account })]);
    expect(both.map(({ resolved }) => resolved).sort((a, b) => a - b)).toEqual([0, 200]);
  });

  it('resolves once when its connection is killed on the way', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '101', '102', '103', '104']);
    const id = await predictQuarters(server, account, { symbol });
    const other = server.connect();
    await other`select pg_advisory_lock(hashtextextended(${`tradewind.outcomes.${account}`}, 0))`;
    const evaluated = evaluate(server, { account });
    await server.untilBlocked(1);
    await server.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    await other`select pg_advisory_unlock_all()`;
    expect(await evaluated).toMatchObject({ resolved: 4, pending: 0 });
    expect(Object.values(await outcomesOf(server, id))).not.toContain(null);
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 0 });
  });

  it('takes a statement for each of its steps, whatever the number of horizons', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', '101', null, '103', '104']);
    const items = many(500, (place) =>
      predictionItem({
        symbol,
        modelVersion: `m${place}`,
        predictedAt: PREDICTED_AT,
        horizons: quarters(),
      }),
    );
    await predict(server, items, { account });
    server.statements();
    const { evaluateOutcomes } = await server.data<{ evaluateOutcomes: unknown }>(
      `mutation ($input: EvaluateOutcomesInput!) { evaluateOutcomes(input: $input) { resolved } }`,
      { input: { account } },
    );
    expect(evaluateOutcomes).toEqual({ resolved: 1500 });
    expect(server.statements()).toEqual([
      'transaction.begin',
      'settings.list',
      'outcomeQueue.lock',
      'outcomeQueue.wake',
      'outcomeQueue.findDue',
      'outcomes.insertMany',
      'outcomeQueue.finish',
      'changes.append',
      'transaction.commit',
    ]);
  });

  it('wakes more gaps than the limit over several calls', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, [null, '101', '102', '103', '104']);
    const items = many(5, (place) =>
      predictionItem({
        symbol,
        modelVersion: `m${place}`,
        predictedAt: PREDICTED_AT,
        horizons: quarters(),
      }),
    );
    await predict(server, items, { account });
    await evaluate(server, { account });
    await ingest(server, [closing(symbol, PREDICTED_AT, '100')]);
    let [resolved, calls, hasMore] = [0, 0, true];
    while (hasMore) {
      const batch = await evaluate(server, { account, limit: 3 });
      resolved += batch.resolved;
      hasMore = batch.hasMore;
      calls += 1;
    }
    expect([resolved, await waitingOf(server, account)]).toEqual([20, { queued: 0, gaps: 0 }]);
    expect(calls).toBeGreaterThanOrEqual(7);
  });

  it('looks at every gap once more where retention cut the log of the candles', async () => {
    const account = await makeAccount(server);
    const symbol = await makeSeries(server, ['100', null, null, '103', '104']);
    const id = await predictQuarters(server, account, { symbol });
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 2, pending: 2 });
    await ingest(server, [closing(symbol, minutesOn(15), '101')]);
    // As retention does it.
    await server.sql`
      with gone as (delete from changes where account_id = '_system' returning seq, hash, at)
      insert into change_checkpoints select '_system', seq, hash, at from gone
      order by seq desc limit 1`;
    const found = [];
    for (let call = 0; call < 4; call += 1) {
      found.push(await evaluate(server, { account, limit: 1 }));
    }
    expect(found.map(({ resolved }) => resolved).reduce((sum, each) => sum + each)).toBe(1);
    expect(found.at(-1)).toMatchObject({ pending: 1, hasMore: false });
    expect(await outcomesOf(server, id)).toMatchObject({ 15: { actualReturn: 0.01 }, 30: null });
    // From here on it follows the log again.
    await ingest(server, [closing(symbol, minutesOn(30), '102')]);
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 1, pending: 0 });
  });

  it('passes over predictions that retention has deleted', async () => {
    const account = await makeAccount(server);
    await predictQuarters(server, account, {});
    await server.sql`delete from prediction_horizons where account_id = ${account}`;
    await server.sql`delete from predictions where account_id = ${account}`;
    expect(await evaluate(server, { account })).toMatchObject({ resolved: 0, hasMore: false });
    expect(await waitingOf(server, account)).toEqual({ queued: 0, gaps: 0 });
  });

  it('forgets predictions that retention deletes with it', async () => {
    const account = await makeAccount(server);
    const horizons = [15, 60].map((minutes) => horizonItem(minutes));
    const items = ['2016-01-15T12:00:00Z', '2016-02-15T12:00:00Z'].map((predictedAt) =>
      predictionItem({ predictedAt, horizons }),
    );
    await predict(server, items, { account });
    // Of each, the first horizon has become a gap; of the older one the second, too.
    await evaluate(server, { account, upTo: '2016-02-15T12:15:00Z' });
    expect(await waitingOf(server, account)).toEqual({ queued: 1, gaps: 3 });
    await deletePredictions('2016-02-15T12:00:00Z');
    expect(await waitingOf(server, account)).toEqual({ queued: 1, gaps: 1 });
    await deletePredictions('2016-02-15T12:00:01Z');
    expect(await waitingOf(server, account)).toEqual({ queued: 0, gaps: 0 });
  });
});

/** Those made before an instant, as maintenance does it. */
async function deletePredictions(before: string): Promise<void> {
  const maintainer = createMaintainer({
    units: createUnitsOfWork(server.tradewind.database, () => {}),
    log: { warn: (fields) => expect(fields).toBeNull() },
    retentionDays: { signals: null, predictions: 1, candles: null, changes: null },
    takeKeyUses: () => new Map(),
    giveBackKeyUses: () => undefined,
    clock: () => Date.parse(before) + 86_400_000,
  });
  await maintainer.run();
}
