import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EXAMPLE_TABS } from '../../graphiql-tabs.ts';
import { predict } from '../support/documents.ts';
import { predictionItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

/** Every statement of each query; no number of rows adds one. */
const STATEMENTS: Readonly<Record<string, readonly string[]>> = {
  Alerts: ['alertRules.list', 'alerts.list'],
  Welcome: ['accounts.findByIds', 'accounts.listIds'],
  OpenPositions: ['marks.find', 'positions.count', 'positions.list'],
  Orders: ['orders.count', 'orders.list', 'positions.findByIds', 'trades.listByOrders'],
  Exposure: ['exposure.find'],
  Performance: ['tradingPerformance.list', 'tradingPerformance.list'],
  PnlSeries: ['pnlSeries.find'],
  Predictions: ['predictions.listHorizons', 'predictions.listLatest'],
  Accuracy: ['predictionAccuracy.list', 'predictionStats.list'],
  Candles: ['candles.list'],
  AuditTrail: ['changes.list', 'changes.readHeads'],
};

const QUERIES = EXAMPLE_TABS.filter(({ query }) => /^query /m.test(query));

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
  for (const { query, variables } of EXAMPLE_TABS) {
    if (/^mutation /m.test(query)) await server.data(query, variables ?? {});
  }
  // An open position beside the ones that the mutations leave behind.
  for (const { name, query, variables } of EXAMPLE_TABS) {
    if (name === 'OpenOne') await server.data(query, variables ?? {});
  }
  const symbols = ['BTCUSDT', 'ETHUSDT', 'SOLUSDT'];
  await predict(
    server,
    symbols.map((symbol) => predictionItem({ symbol })),
  );
});

afterAll(() => server.stop());

describe('the example queries', () => {
  it('are all here', () => {
    expect(QUERIES.map(({ name }) => name).toSorted()).toEqual(Object.keys(STATEMENTS).toSorted());
  });

  it.each(QUERIES.map(({ name, query, variables }) => [name, query, variables] as const))(
    '%s runs its statements and no more',
    async (name, query, variables) => {
      server.statements();
      const data = await server.data<object>(query, variables ?? {});
      expect(server.statements().toSorted()).toEqual(STATEMENTS[name]);
      expect(Object.values(data)).not.toContain(null);
    },
  );
});
