import { describe, expect, it } from 'vitest';
import { predict } from '../../support/documents.ts';
import { briefOf, ORDERS, PREDICTIONS, TRADES, useLive } from '../../support/live.ts';
import { horizonItem, many, predictionItem } from '../../support/make.ts';
import { amend, fillItem, orderItem, place, placeOne, recordOne } from '../../support/trading.ts';

const live = useLive();

describe('orderChanges', () => {
  it('sends an order as each change left it, with its relations read anew', async () => {
    const [stream] = await live.begin(ORDERS);
    const { id, clientOrderId } = await placeOne(
      live.server,
      { quantity: '2' },
      { account: live.account },
    );
    await recordOne(live.server, fillItem(clientOrderId), { account: live.account });
    await recordOne(live.server, fillItem(clientOrderId), { account: live.account });
    const [placed, partly, filled] = await stream.take(3);
    expect(placed).toMatchObject({
      kind: 'CHANGE',
      operation: 'INSERT',
      before: null,
      order: { id, status: 'PENDING', version: 1, trades: [], position: null },
    });
    expect(partly).toMatchObject({
      operation: 'UPDATE',
      before: { status: 'PENDING' },
      order: { status: 'PARTIALLY_FILLED', filledQuantity: '1', version: 2 },
    });
    expect(filled).toMatchObject({
      order: {
        status: 'FILLED',
        version: 3,
        trades: [{ quantity: '1' }, { quantity: '1' }],
        position: { quantity: '2' },
      },
    });
    // Each fill is a change of the order, of its position and a trade.
    expect([placed, partly, filled].map((event) => event && briefOf(event))).toEqual([
      { kind: 'CHANGE', seq: 1, previousSeq: 0 },
      { kind: 'CHANGE', seq: 2, previousSeq: 1 },
      { kind: 'CHANGE', seq: 5, previousSeq: 2 },
    ]);
  });

  it('says when an order no longer matches, and chains what does', async () => {
    const where = { status: ['PENDING', 'OPEN'], symbols: ['BTCUSDT'] };
    const [stream] = await live.begin(ORDERS, { where });
    const { results } = await place(
      live.server,
      [
        orderItem({ symbol: 'ETHUSDT' }),
        orderItem({ symbol: 'BTCUSDT' }),
        orderItem({ symbol: 'ETHUSDT' }),
      ],
      { account: live.account },
    );
    const [eth, btc] = results.map(({ order }) => order?.id);
    await amend(live.server, [{ id: eth, status: 'CANCELED' }], { account: live.account });
    await amend(live.server, [{ id: btc, status: 'OPEN' }], { account: live.account });
    await amend(live.server, [{ id: btc, status: 'CANCELED' }], { account: live.account });
    const events = await stream.take(3);
    expect(events.map(briefOf)).toEqual([
      { kind: 'CHANGE', seq: 2, previousSeq: 0 },
      { kind: 'CHANGE', seq: 5, previousSeq: 2 },
      { kind: 'LEFT', seq: 6, previousSeq: 5 },
    ]);
    expect(events[2]).toMatchObject({ before: { status: 'OPEN' }, order: { status: 'CANCELED' } });
  });

  it('begins with the orders that match when a snapshot is asked for', async () => {
    const [first, second] = [
      await placeOne(live.server, {}, { account: live.account }),
      await placeOne(live.server, {}, { account: live.account }),
    ];
    await amend(live.server, [{ id: first.id, status: 'CANCELED' }], { account: live.account });
    const where = { status: ['PENDING', 'OPEN'] };
    const stream = await live.open(ORDERS, { where, snapshot: true });
    const [row, end] = await stream.take(2);
    expect(row).toMatchObject({ kind: 'SNAPSHOT', seq: '3', order: { id: second.id } });
    expect(end).toMatchObject({ kind: 'CAUGHT_UP', seq: '3' });
    await amend(live.server, [{ id: second.id, status: 'CANCELED' }], { account: live.account });
    expect(briefOf(await stream.next())).toEqual({ kind: 'LEFT', seq: 4, previousSeq: 3 });
    const resumed = await live.open(ORDERS, { where, snapshot: true, after: end?.cursor });
    expect((await resumed.take(2)).map(({ kind }) => kind)).toEqual(['LEFT', 'CAUGHT_UP']);
  });

  it('filters by ids and client ids of its own account', async () => {
    const [one, two] = [
      await placeOne(live.server, {}, { account: live.account }),
      await placeOne(live.server, {}, { account: live.account }),
    ];
    const [byId] = await live.begin(ORDERS, { where: { ids: [two.id] } });
    const [byName] = await live.begin(ORDERS, { where: { clientOrderIds: [two.clientOrderId] } });
    const changed = [{ id: one.id, status: 'OPEN' }];
    await amend(live.server, [...changed, { id: two.id, status: 'OPEN' }], {
      account: live.account,
    });
    for (const stream of [byId, byName]) {
      expect(await stream.next()).toMatchObject({ order: { id: two.id, status: 'OPEN' } });
    }
    await expect(
      (await live.open(ORDERS, { where: { ids: ['order.main.x'] } })).next(),
    ).rejects.toThrow('BAD_INPUT');
  });
});

describe('tradeExecutions', () => {
  it('sends each trade once, with its order and position as they are now', async () => {
    const [stream, begun] = await live.begin(TRADES);
    const { id, symbol, clientOrderId } = await placeOne(
      live.server,
      { quantity: '2' },
      { account: live.account },
    );
    const { trade } = await recordOne(live.server, fillItem(clientOrderId), {
      account: live.account,
    });
    const event = await stream.next();
    expect(event).toMatchObject({
      kind: 'CHANGE',
      trade: {
        id: trade?.id,
        symbol,
        side: 'BUY',
        quantity: '1',
        order: { id, status: 'PARTIALLY_FILLED' },
        position: { quantity: '1' },
      },
    });
    await recordOne(live.server, fillItem(clientOrderId), { account: live.account });
    expect(await stream.next()).toMatchObject({
      previousSeq: event.seq,
      trade: { order: { status: 'FILLED' }, position: { quantity: '2' } },
    });
    const resumed = await live.open(TRADES, { after: begun.cursor });
    expect((await resumed.take(3)).map(({ kind }) => kind)).toEqual([
      'CHANGE',
      'CHANGE',
      'CAUGHT_UP',
    ]);
  });

  it('filters by order, position and side', async () => {
    const [one, two] = [
      await placeOne(live.server, {}, { account: live.account }),
      await placeOne(live.server, { side: 'SELL' }, { account: live.account }),
    ];
    const [byOrder] = await live.begin(TRADES, { where: { orderIds: [two.id] } });
    const [bySide] = await live.begin(TRADES, { where: { side: 'SELL' } });
    await recordOne(live.server, fillItem(one.clientOrderId), { account: live.account });
    const { position } = await recordOne(live.server, fillItem(two.clientOrderId), {
      account: live.account,
    });
    const [byPosition] = await live.begin(TRADES, { where: { positionIds: [position?.id] } });
    await recordOne(live.server, fillItem(one.clientOrderId), { account: live.account });
    await recordOne(live.server, fillItem(two.clientOrderId), { account: live.account });
    for (const stream of [byOrder, bySide, byPosition]) {
      expect(await stream.next()).toMatchObject({ trade: { order: { id: two.id } } });
    }
  });
});

describe('predictionsLogged', () => {
  it('sends one event a batch with the rows that match, read anew', async () => {
    const [stream] = await live.begin(PREDICTIONS, { where: { symbols: ['BTCUSDT'] } });
    const items = many(6, (index) =>
      predictionItem({
        symbol: index % 2 === 0 ? 'BTCUSDT' : 'ETHUSDT',
        predictedAt: `2026-01-15T12:0${index}:00Z`,
        horizons: [horizonItem(15), horizonItem(60)],
      }),
    );
    const { results } = await predict(live.server, items, { account: live.account });
    const event = await stream.next();
    expect(briefOf(event)).toEqual({ kind: 'CHANGE', seq: 1, previousSeq: 0 });
    expect(event.predictions).toEqual(
      [0, 2, 4].map((index) => ({
        id: results[index]?.id,
        symbol: 'BTCUSDT',
        modelVersion: 'test-1',
        horizons: [{ horizonMinutes: 15 }, { horizonMinutes: 60 }],
      })),
    );
  });

  it('leaves out batches without a match, and rows that were deleted', async () => {
    const [stream, begun] = await live.begin(PREDICTIONS);
    await predict(live.server, [predictionItem()], { account: live.account });
    await predict(live.server, [predictionItem({ modelVersion: 'a' }), predictionItem()], {
      account: live.account,
    });
    await predict(live.server, [predictionItem({ modelVersion: 'b' })], { account: live.account });
    expect((await stream.take(3)).map(briefOf)).toEqual([
      { kind: 'CHANGE', seq: 1, previousSeq: 0 },
      { kind: 'CHANGE', seq: 2, previousSeq: 1 },
      { kind: 'CHANGE', seq: 3, previousSeq: 2 },
    ]);
    await live.server.sql`
      delete from predictions where account_id = ${live.account} and model_version = 'test-1'`;
    const resumed = await live.open(PREDICTIONS, { after: begun.cursor });
    const [second, third, end] = await resumed.take(3);
    expect(second).toMatchObject({ seq: '2', previousSeq: '0', predictions: [{}] });
    expect(third).toMatchObject({ seq: '3', previousSeq: '2' });
    expect(end).toMatchObject({ kind: 'CAUGHT_UP', seq: '3' });
    const filtered = await live.open(PREDICTIONS, {
      after: begun.cursor,
      where: { modelVersions: ['b'] },
    });
    expect(briefOf(await filtered.next())).toEqual({ kind: 'CHANGE', seq: 3, previousSeq: 0 });
  });

  it('filters as the list does', async () => {
    const [, begun] = await live.begin(PREDICTIONS);
    const items = [
      predictionItem({ symbol: 'BTCUSDT', signalConfidence: 0.9 }),
      predictionItem({ symbol: 'ETHUSDT', signal: 'SHORT', signalConfidence: 0.4 }),
      predictionItem({ symbol: 'SOLUSDT', interval: '1h', horizons: [] }),
      predictionItem({ symbol: 'XRPUSDT', predictedAt: '2026-01-16T00:00:00Z', exchange: 'okx' }),
    ];
    await predict(live.server, items, { account: live.account });
    const wheres = [
      { exchange: 'okx' },
      { symbols: ['BTCUSDT', 'SOLUSDT'] },
      { interval: '1h' },
      { modelVersions: ['test-1'] },
      { signal: ['SHORT'] },
      { minConfidence: 0.75 },
      { minConfidence: 0 },
      { resolved: true },
      { resolved: false },
      { predictedAt: { from: '2026-01-16T00:00:00Z' } },
      { predictedAt: { to: '2026-01-16T00:00:00Z' } },
    ];
    for (const where of wheres) {
      const { predictions } = await live.server.data<{
        predictions: { nodes: { symbol: string }[] };
      }>(
        `query ($account: ID, $where: PredictionWhere) {
          predictions(account: $account, where: $where, sort: ASC) { nodes { symbol } } }`,
        { account: live.account, where },
      );
      const stream = await live.open(PREDICTIONS, { where, after: begun.cursor });
      const event = await stream.next();
      const sent = event.predictions as readonly { readonly symbol: string }[];
      expect(sent.map(({ symbol }) => ({ symbol }))).toEqual(predictions.nodes);
      expect(sent.length).toBeGreaterThan(0);
      stream.close();
    }
  });

  it('reads a batch and its horizons once for all who are told the same', async () => {
    const streams = await Promise.all(Array.from({ length: 8 }, () => live.begin(PREDICTIONS)));
    live.server.statements();
    await predict(
      live.server,
      many(50, () => predictionItem()),
      { account: live.account },
    );
    for (const [stream] of streams) {
      expect((await stream.next()).predictions).toHaveLength(50);
    }
    const names = live.server.statements();
    const count = (name: string) => names.filter((one) => one === name).length;
    expect(count('predictions.readLogged')).toBe(1);
    expect(count('predictions.listHorizons')).toBe(1);
  });
});
