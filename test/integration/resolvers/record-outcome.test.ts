import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codesOf, inputOf, refusalOf, statusesOf } from '../../support/documents.ts';
import { horizonItem, type Item, many, PREDICTED_AT } from '../../support/make.ts';
import {
  evaluate,
  makeSeries,
  outcomesOf,
  predictOne,
  RECORD_OUTCOMES,
  recordOutcomes,
} from '../../support/outcomes.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { makeAccount } from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const PER_ITEM = { mode: 'PER_ITEM' } as const;
const UNKNOWN = 'prediction.main.019bc1a0-0000-7000-8000-000000000000';

function item(predictionId: string, changes: Item = {}): Item {
  return { predictionId, horizonMinutes: 15, actualReturn: 0.0042, ...changes };
}

/** What it holds; predictions are not counted, outcomes are. */
async function stored(): Promise<unknown> {
  const rows = await server.sql`
    select prediction_id, horizon_minutes, actual_return, resolved_at
    from prediction_horizons where actual_return is not null order by 1, 2`;
  return [rows, await server.inventory()];
}

describe('recordOutcomes', () => {
  it('stores an outcome with whether it was right and by how much', async () => {
    const horizons = [
      horizonItem(15, { predictedReturn: 0.005 }),
      horizonItem(60, { direction: 'SHORT' }),
      horizonItem(240),
    ];
    const id = await predictOne(server, { horizons });
    const resolvedAt = '2026-01-15T12:15:00.123456Z';
    const batch = await recordOutcomes(server, [
      item(id, { resolvedAt }),
      item(id, { horizonMinutes: 60, actualReturn: 0, actualDirection: 'LONG', resolvedAt }),
    ]);
    expect(batch).toMatchObject({ resolved: 2, counts: { created: 2 } });
    expect(statusesOf(batch)).toEqual(['CREATED', 'CREATED']);
    expect(await outcomesOf(server, id)).toEqual({
      15: {
        actualReturn: 0.0042,
        actualDirection: 'LONG',
        correct: true,
        returnError: 0.005 - 0.0042,
        resolvedAt,
      },
      60: {
        actualReturn: 0,
        actualDirection: 'LONG',
        correct: false,
        returnError: null,
        resolvedAt,
      },
      240: null,
    });
  });

  it.each<[number, number, string]>([
    [15, 0.0015, 'NEUTRAL'],
    [15, 0.00150001, 'LONG'],
    [15, -0.0015, 'NEUTRAL'],
    [15, -0.00150001, 'SHORT'],
    [5, 0.0015, 'NEUTRAL'],
    [5, 0.0016, 'LONG'],
    [59, 0.0016, 'LONG'],
    [60, 0.003, 'NEUTRAL'],
    [60, -0.0031, 'SHORT'],
    [240, 0.007, 'NEUTRAL'],
    [719, 0.0071, 'LONG'],
    [720, 0.01, 'NEUTRAL'],
    [2880, -0.0101, 'SHORT'],
  ])('takes %i minutes with a return of %d for %s', async (minutes, actualReturn, direction) => {
    const id = await predictOne(server, { horizons: [horizonItem(minutes)] });
    await recordOutcomes(server, [item(id, { horizonMinutes: minutes, actualReturn })]);
    expect(await outcomesOf(server, id)).toMatchObject({
      [minutes]: { actualDirection: direction },
    });
  });

  it('replays the same item and refuses another outcome', async () => {
    const id = await predictOne(server, { horizons: [horizonItem(15), horizonItem(60)] });
    const [first, second] = [item(id), item(id, { horizonMinutes: 60 })];
    await recordOutcomes(server, [first, second]);
    const before = await stored();
    const again = await recordOutcomes(
      server,
      [first, { ...second, actualReturn: 0.0043 }],
      PER_ITEM,
    );
    expect(statusesOf(again)).toEqual(['REPLAYED', 'CONFLICT']);
    expect(again).toMatchObject({ resolved: 0, counts: { replayed: 1, conflict: 1 } });
    expect(again.results[1]?.error?.path).toEqual(['input', 'items', '1', 'actualReturn']);
    expect(await stored()).toEqual(before);
  });

  it('takes the direction and the instant for content', async () => {
    const id = await predictOne(server);
    await recordOutcomes(server, [item(id)]);
    for (const changes of [{ actualDirection: 'SHORT' }, { resolvedAt: PREDICTED_AT }]) {
      const batch = await recordOutcomes(server, [item(id, changes)], PER_ITEM);
      expect(statusesOf(batch)).toEqual(['CONFLICT']);
    }
  });

  it('leaves what was evaluated as it is and says whether it is the same', async () => {
    const symbol = await makeSeries(server, ['100', '101']);
    const id = await predictOne(server, { symbol, predictedAt: PREDICTED_AT });
    await evaluate(server);
    const before = await stored();
    const batches = [
      await recordOutcomes(server, [item(id, { actualReturn: 0.01 })], PER_ITEM),
      await recordOutcomes(server, [item(id, { actualReturn: 0.011 })], PER_ITEM),
    ];
    expect(batches.map(statusesOf)).toEqual([['UNCHANGED'], ['CONFLICT']]);
    expect(await stored()).toEqual(before);
  });

  it('says of each item why it is refused', async () => {
    const id = await predictOne(server);
    const bare = await predictOne(server, { horizons: [] });
    const batch = await recordOutcomes(
      server,
      [
        item(UNKNOWN),
        item(id, { horizonMinutes: 16 }),
        item(bare),
        item(id),
        item(id, { actualReturn: 1 }),
        item('order.main.019bc1a0-0000-7000-8000-000000000000'),
        item(UNKNOWN.replace('main', 'other')),
        item(id, { horizonMinutes: 60, actualReturn: -1.000001 }),
        item(id, { horizonMinutes: 30, resolvedAt: '2098-01-01T00:00:00Z' }),
      ],
      PER_ITEM,
    );
    expect(statusesOf(batch)).toEqual([
      'NOT_FOUND',
      'REJECTED',
      'REJECTED',
      'CREATED',
      ...Array.from({ length: 5 }, () => 'REJECTED'),
    ]);
    expect(codesOf(batch)).toEqual([
      'NOT_FOUND',
      'NO_SUCH_HORIZON',
      'NO_SUCH_HORIZON',
      null,
      'DUPLICATE_IN_BATCH',
      ...Array.from({ length: 4 }, () => 'BAD_INPUT'),
    ]);
    expect(batch.results[1]?.error?.path).toEqual(['input', 'items', '1', 'horizonMinutes']);
    expect(batch.results[7]?.error?.path).toEqual(['input', 'items', '7', 'actualReturn']);
  });

  it('knows no prediction of a month that has no partition', async () => {
    const batch = await recordOutcomes(
      server,
      [item('prediction.main.03ffffff-0000-7000-8000-000000000000')],
      PER_ITEM,
    );
    expect(statusesOf(batch)).toEqual(['NOT_FOUND']);
  });

  it('stores nothing under ATOMIC when one item is refused', async () => {
    const id = await predictOne(server);
    const before = await stored();
    const answer = await server.request(RECORD_OUTCOMES, inputOf([item(id), item(UNKNOWN)]));
    expect(refusalOf(answer).extensions).toMatchObject({
      code: 'BATCH_REJECTED',
      items: [{ status: 'NOT_ATTEMPTED' }, { status: 'NOT_FOUND' }],
    });
    expect(await stored()).toEqual(before);
  });

  it('stores nothing under VALIDATE_ONLY and answers as if it did', async () => {
    const id = await predictOne(server);
    const before = await stored();
    const items = [item(id), item(UNKNOWN)];
    const batch = await recordOutcomes(server, items, { mode: 'VALIDATE_ONLY' });
    expect(statusesOf(batch)).toEqual(['CREATED', 'NOT_FOUND']);
    expect(batch.resolved).toBe(1);
    expect(await stored()).toEqual(before);
  });

  it('writes 1000 outcomes of 250 predictions in one statement a table', async () => {
    const minutes = [15, 60, 240, 720];
    const ids: string[] = [];
    for (let count = 0; count < 250; count += 1) {
      ids.push(await predictOne(server, { horizons: minutes.map((each) => horizonItem(each)) }));
    }
    const items = ids.flatMap((id) =>
      minutes.map((horizonMinutes) => item(id, { horizonMinutes, actualDirection: 'LONG' })),
    );
    server.statements();
    const { recordOutcomes: payload } = await server.data<{ recordOutcomes: unknown }>(
      `mutation ($input: RecordOutcomesInput!) { recordOutcomes(input: $input) { resolved } }`,
      inputOf(items),
    );
    expect(payload).toEqual({ resolved: 1000 });
    expect(server.statements()).toEqual([
      'transaction.begin',
      'outcomes.lock',
      'outcomes.insertMany',
      'outcomeQueue.removeGaps',
      'changes.append',
      'transaction.commit',
    ]);
  });

  it('is one change in the log that names the predictions', async () => {
    const ids = [await predictOne(server), await predictOne(server)];
    await recordOutcomes(
      server,
      ids.map((id) => item(id)),
    );
    const found = await server.data<{ changes: { nodes: readonly { ids: string[] }[] } }>(
      `query ($ids: [ID!]) {
        changes(account: "main", where: { ids: $ids, entities: ["outcome"] }) {
          nodes { entity operation ids count before after }
        }
      }`,
      { ids: ids.slice(0, 1) },
    );
    const [change] = found.changes.nodes;
    expect(change).toMatchObject({
      entity: 'outcome',
      operation: 'INSERT',
      count: 2,
      before: null,
      after: null,
    });
    expect([...(change?.ids ?? [])].sort()).toEqual([...ids].sort());
  });

  it('refuses a batch of 1001', async () => {
    const items = many(1001, () => item(UNKNOWN));
    const { extensions } = refusalOf(await server.request(RECORD_OUTCOMES, inputOf(items)));
    expect(extensions).toMatchObject({ code: 'BATCH_TOO_LARGE', itemsMax: 1000 });
  });

  it('needs the permission to write predictions, in the account', async () => {
    const id = await predictOne(server);
    const account = await makeAccount(server);
    const viewer = await server.issueKey('VIEWER', ['main']);
    const stranger = await server.issueKey('BOT', [account]);
    for (const { token } of [viewer, stranger]) {
      const answer = await server.request(RECORD_OUTCOMES, inputOf([item(id)]), { key: token });
      expect(refusalOf(answer).extensions.code).toBe('FORBIDDEN');
    }
    expect(await outcomesOf(server, id)).toEqual({ 15: null });
  });

  it('finds the outcome of a lost answer by its key, once', async () => {
    const id = await predictOne(server);
    const options = { headers: { 'idempotency-key': 'outcome-1' } };
    const send = () => server.request(RECORD_OUTCOMES, inputOf([item(id)]), options);
    const [first, second] = [await send(), await send()];
    expect(second.extensions.replayed).toBe(true);
    expect(second.data).toEqual(first.data);
  });

  it('gives one of two recorders CREATED and the other CONFLICT', async () => {
    const id = await predictOne(server);
    const both = [0.1, 0.2].map((actualReturn) =>
      recordOutcomes(server, [item(id, { actualReturn })], PER_ITEM),
    );
    const statuses = (await Promise.all(both)).map((batch) => statusesOf(batch)[0]);
    expect(statuses.sort()).toEqual(['CONFLICT', 'CREATED']);
  });
});
