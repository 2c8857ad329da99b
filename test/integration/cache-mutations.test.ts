import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KEPT_FIELDS } from '../../answers.ts';
import { createSchema } from '../../schema/schema.ts';
import { createTestProcess } from '../support/alerts.ts';
import { close, open, openOne, predict, update } from '../support/documents.ts';
import {
  candleItem,
  horizonItem,
  type Item,
  makeSymbol,
  openItem,
  predictionItem,
} from '../support/make.ts';
import { eventually } from '../support/eventually.ts';
import { evaluate, ingest, predictOne, recordOutcomes } from '../support/outcomes.ts';
import { type SecondNode, startSecondNode } from '../support/second-node.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createSignal, createSignals, PROCESS_SIGNALS, signalItem } from '../support/signal.ts';
import {
  amend,
  cancel,
  fillItem,
  makeName,
  orderItem,
  place,
  placeOne,
  recordOne,
} from '../support/trading.ts';

/** One node that keeps what it has read, and one that reads everything anew: they must agree. */
let server: TestServer;
let reference: SecondNode;
let ids: Readonly<Record<string, string>>;

const SYMBOL = 'KEPTUSDT';

beforeAll(async () => {
  server = await startTestServer({ environment: { CACHE: 'on' } });
  reference = await startSecondNode(server, { isCacheOn: false });
  const { id: position } = await openOne(server, openItem({ symbol: SYMBOL }));
  const { id: order, clientOrderId } = await placeOne(server);
  await recordOne(server, fillItem(clientOrderId));
  const { id: signal } = await createSignal(server);
  const prediction = await predictOne(server, { symbol: SYMBOL });
  ids = { position, order, signal, prediction };
});

afterAll(async () => {
  await reference.stop();
  await server.stop();
});

const FIELDS: Readonly<Record<string, string>> = {
  order: `id status price quantity filledQuantity averagePrice stopLossPrice reason version
    position { id quantity version } trades { id quantity }`,
  position: `id status quantity entryPrice markPrice unrealizedPnl stopLossPrice realizedPnl fees
    stopTriggeredKind version account { id tradingState headSeq } orders { id status }
    trades { id price } changes(first: 5) { nodes { seq operation } }`,
  prediction: `id symbol signal modelVersion
    horizons { horizonMinutes direction outcome { actualReturn correct } }`,
  signal: 'id symbol type status processedAt',
  trade: 'id price quantity realizedPnl order { id status } position { id status }',
};

/** For every field of Query whose answers are kept, by its name: what its answers are made of. */
const QUERIES: Readonly<Record<string, string>> = {
  account: '{ account(id: "main") { id name hedgeMode tradingState headSeq createdAt } }',
  balances: '{ balances(account: "main") { exchange asset free locked total updatedAt } }',
  candles: `{ candles(exchange: "bybit", symbol: "${SYMBOL}", interval: "15m") { openTime close } }`,
  changes: '{ changes(account: "main", first: 500) { nodes { seq entity operation ids hash } } }',
  latestPredictions: `{ latestPredictions(account: "main", symbols: ["${SYMBOL}"]) { ${FIELDS.prediction} } }`,
  node: `query ($position: ID!) { node(id: $position) { id ... on Position { ${FIELDS.position} } } }`,
  nodes: `query ($ids: [ID!]!) { nodes(ids: $ids) { id
    ... on Order { orderStatus: status trades { price } }
    ... on Position { positionStatus: status quantity markPrice }
    ... on Signal { signalStatus: status } ... on Account { tradingState } } }`,
  orders: `{ orders(account: "main") { totalCount nodes { ${FIELDS.order} } } }`,
  positions: `{ positions(account: "main") { totalCount nodes { ${FIELDS.position} } } }`,
  predictionAccuracy:
    '{ predictionAccuracy(account: "main", groupBy: [HORIZON]) { total resolved correct pending mae } }',
  predictionStats: `{ predictionStats(account: "main", bucket: { size: "1d" }) { at total } }`,
  predictions: `{ predictions(account: "main") { totalCount nodes { ${FIELDS.prediction} } }
    pending: predictions(account: "main", where: { resolved: false }) { totalCount } }`,
  settings: '{ settings(account: "main") { key value version updatedAt } }',
  signals: `{ signals(account: "main") { totalCount nodes { ${FIELDS.signal} } } }`,
  trades: `{ trades(account: "main") { totalCount nodes { ${FIELDS.trade} } } }`,
  tradingPerformance:
    '{ tradingPerformance(account: "main", groupBy: [SYMBOL]) { symbol netPnl wins } }',
};

type Act = () => Promise<unknown>;

/** Sends a mutation with what it is about, and nothing else. */
const send = (field: string, values: Item, fields: string): Act => {
  const type = `${field.charAt(0).toUpperCase()}${field.slice(1)}Input`;
  const document = `mutation ($input: ${type}!) { ${field}(input: $input) { ${fields} } }`;
  return () => server.data(document, { input: values });
};

/** By field of Mutation: makes what it needs, and gives what sends it. */
const MUTATIONS: Readonly<Record<string, () => Promise<Act> | Act>> = {
  acknowledgeAlert: async () => {
    const process = createTestProcess(server, 'host:1');
    process.loopMs = 500;
    await process.round();
    await process.round(60);
    const { alerts } = await server.data<{ alerts: readonly { id: string }[] }>(
      '{ alerts { id } }',
    );
    const document = 'mutation ($id: ID!) { acknowledgeAlert(id: $id) { id } }';
    return () => server.data(document, { id: alerts[0]?.id });
  },
  cancelOrders: async () => {
    const { id } = await placeOne(server);
    return () => cancel(server, { ids: [id] });
  },
  closePositions: async () => {
    const { id } = await openOne(server, openItem());
    return () => close(server, [{ id, price: '111' }]);
  },
  createAccount: () => send('createAccount', { id: makeName(), name: 'x' }, 'id'),
  createApiKey: () => send('createApiKey', { name: 'x', role: 'BOT', accounts: ['main'] }, 'id'),
  createSignals: () => () => createSignals(server, [signalItem()]),
  evaluateOutcomes: async () => {
    const symbol = makeSymbol();
    const times = ['2026-01-15T11:45:00Z', '2026-01-15T12:00:00Z'];
    await ingest(
      server,
      times.map((openTime) => candleItem({ symbol, openTime })),
    );
    await predictOne(server, { symbol });
    return () => evaluate(server);
  },
  ingestCandles: () => () => ingest(server, [candleItem({ symbol: SYMBOL, close: '107' })]),
  logPredictions: () => () =>
    predict(server, [predictionItem({ symbol: SYMBOL, modelVersion: makeName() })]),
  markPrices: () => {
    const items = [{ exchange: 'bybit', symbol: SYMBOL, price: '101.5' }];
    return send('markPrices', { account: 'main', items }, 'updated');
  },
  openPositions: () => () => open(server, [openItem()]),
  placeOrders: () => () => place(server, [orderItem({ symbol: SYMBOL })]),
  processSignals: async () => {
    const { id } = await createSignal(server);
    return () => server.data(PROCESS_SIGNALS, { input: { account: 'main', ids: [id] } });
  },
  putAlertRule: () => send('putAlertRule', { name: 'event-loop', forSeconds: 61 }, 'name'),
  putSettings: () => {
    const items = [{ key: makeName(), value: 1 }];
    return send('putSettings', { account: 'main', items }, 'settings { key }');
  },
  recordOutcomes: async () => {
    const horizons = [horizonItem(60)];
    const changes = { symbol: SYMBOL, modelVersion: makeName(), horizons };
    const predictionId = await predictOne(server, changes);
    const item = { predictionId, horizonMinutes: 60, actualReturn: 0.01 };
    return () => recordOutcomes(server, [item]);
  },
  recordTrades: async () => {
    const { clientOrderId } = await placeOne(server);
    return () => recordOne(server, fillItem(clientOrderId));
  },
  revokeApiKey: async () => {
    const { id } = await server.issueKey('BOT', ['main']);
    return () => server.data('mutation ($id: ID!) { revokeApiKey(id: $id) }', { id });
  },
  setTradingState: () =>
    send('setTradingState', { account: 'main', state: 'REDUCING', reason: 'test' }, 'id'),
  updateOrders: async () => {
    const { id } = await placeOne(server);
    return () => amend(server, [{ id, price: '77' }]);
  },
  updatePositions: () => () => update(server, [{ id: ids.position, stopLossPrice: '50.5' }]),
  upsertBalances: () => {
    const items = [{ exchange: 'bybit', asset: 'USDT', free: '1', locked: '0' }];
    return send('upsertBalances', { account: 'main', items }, 'balances { asset }');
  },
};

const variables = () => ({ position: ids.position, ids: [...Object.values(ids), 'main'] });

let made = 0;

/** Until the answer is kept, and each read that it is made of as well. */
async function warm(query: string): Promise<void> {
  // A node whose look at the heads takes too long reads everything anew.
  await eventually(async () => {
    for (const comment of ['', '# 2']) await server.data(`${query} ${comment}`, variables());
    const again = await server.request(`${query} `, variables());
    expect(again.headers.get('x-cache')).toBe('hit');
    made += 1;
    const { extensions } = await server.request(`${query} # made ${made}`, variables());
    expect(extensions.cache).toMatchObject({ hits: expect.any(Number), misses: 0 });
  });
}

describe('what is kept', () => {
  it('is tried here for each field of which it is', () => {
    expect(new Set(['__typename', ...Object.keys(QUERIES)])).toEqual(KEPT_FIELDS);
  });

  it('is tried here against each mutation', () => {
    const fields = Object.keys(createSchema().getMutationType()?.getFields() ?? {});
    expect(Object.keys(MUTATIONS).sort()).toEqual(fields.sort());
  });

  it.each(Object.keys(MUTATIONS))('is as the database has it after %s', async (name) => {
    // Trading goes on whatever the test before this one has set.
    await send('setTradingState', { account: 'main', state: 'ACTIVE', reason: 'test' }, 'id')();
    const act = await MUTATIONS[name]?.();
    for (const query of Object.values(QUERIES)) await warm(query);
    await act?.();
    for (const [field, query] of Object.entries(QUERIES)) {
      const kept = await server.data(`${query} `, variables());
      const { data: read } = await reference.request(query, variables());
      expect({ [field]: kept }).toEqual({ [field]: read });
      // By another document, so that it is made of kept reads, if at all.
      const other = await server.data(`${query} # 4`, variables());
      expect({ [field]: other }).toEqual({ [field]: read });
    }
  });
});
