import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { predict } from '../../support/documents.ts';
import { horizonItem, type Item, makeSymbol, many, predictionItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

describe('predictions', () => {
  const symbols = [makeSymbol(), makeSymbol(), makeSymbol()];
  const days = ['2021-01-31', '2021-02-01', '2021-02-02'];

  beforeAll(async () => {
    const items = days.flatMap((day, place) =>
      symbols.slice(0, 2).map((symbol) =>
        predictionItem({
          symbol,
          modelVersion: place === 2 ? 'paging-2' : 'paging-1',
          predictedAt: `${day}T00:00:00Z`,
          signal: symbol === symbols[0] ? 'LONG' : 'SHORT',
          signalConfidence: (place + 1) / 4,
          horizons: [horizonItem(15), horizonItem(60)],
        }),
      ),
    );
    await predict(server, items);
  });

  interface Found {
    readonly predictions: {
      readonly totalCount?: number;
      readonly nodes: readonly {
        readonly symbol: string;
        readonly predictedAt: string;
        readonly horizons: readonly { readonly horizonMinutes: number }[];
      }[];
      readonly pageInfo: { readonly endCursor: string; readonly hasNextPage: boolean };
    };
  }

  async function find(where: Item, page: Item = {}): Promise<Found['predictions']> {
    const document = `query ($where: PredictionWhere, $first: Int, $after: String) {
      predictions(account: "main", where: $where, first: $first, after: $after) {
        nodes { symbol predictedAt horizons { horizonMinutes } }
        pageInfo { endCursor hasNextPage }
      }
    }`;
    const models = { modelVersions: ['paging-1', 'paging-2'] };
    const variables = { where: { ...models, ...where }, ...page };
    return (await server.data<Found>(document, variables)).predictions;
  }

  it('reads the horizons of a page in one statement', async () => {
    server.statements();
    const { nodes } = await find({});
    expect(nodes).toHaveLength(6);
    expect(nodes[0]?.horizons).toEqual([{ horizonMinutes: 15 }, { horizonMinutes: 60 }]);
    expect(server.statements()).toEqual(['predictions.list', 'predictions.listHorizons']);
  });

  it('pages across months, newest first', async () => {
    const first = await find({}, { first: 4 });
    const second = await find({}, { first: 4, after: first.pageInfo.endCursor });
    const instants = [...first.nodes, ...second.nodes].map((node) => node.predictedAt);
    expect(instants).toEqual([...instants].sort().reverse());
    expect(instants).toHaveLength(6);
    expect([first, second].map((page) => page.pageInfo.hasNextPage)).toEqual([true, false]);
  });

  it.each<[string, Item, number]>([
    ['symbol', { symbols: [symbols[1]] }, 3],
    ['model', { modelVersions: ['paging-2'] }, 2],
    ['signal', { signal: ['SHORT', 'NEUTRAL'] }, 3],
    ['confidence at its bound', { minConfidence: 0.5 }, 4],
    ['any confidence', { minConfidence: 0 }, 6],
    ['interval', { interval: '1h' }, 0],
    ['what is pending', { resolved: false }, 6],
    ['what is resolved', { resolved: true }, 0],
    [
      'range with its start and without its end',
      { predictedAt: { from: '2021-01-31T00:00:00Z', to: '2021-02-02T00:00:00Z' } },
      4,
    ],
  ])('filters by %s', async (_what, where, count) => {
    expect((await find(where)).nodes).toHaveLength(count);
  });

  it('gives the newest of each symbol in the order asked for, in one statement', async () => {
    server.statements();
    const { latestPredictions } = await server.data<{ latestPredictions: object[] }>(
      `query ($symbols: [String!]!) {
        latestPredictions(account: "main", symbols: $symbols) { symbol predictedAt }
      }`,
      { symbols: [symbols[1], 'NOWHERE', symbols[2], symbols[0]] },
    );
    const predictedAt = '2021-02-02T00:00:00.000000Z';
    expect(latestPredictions).toEqual([
      { symbol: symbols[1], predictedAt },
      { symbol: symbols[0], predictedAt },
    ]);
    expect(server.statements()).toEqual(['predictions.listLatest']);
  });

  it('gives the newest of one model', async () => {
    const { latestPredictions } = await server.data<{ latestPredictions: object[] }>(
      `query ($symbols: [String!]!) {
        latestPredictions(account: "main", symbols: $symbols, modelVersion: "paging-1") {
          predictedAt
        }
      }`,
      { symbols: [symbols[0]] },
    );
    expect(latestPredictions).toEqual([{ predictedAt: '2021-02-01T00:00:00.000000Z' }]);
  });

  it('refuses more than 500 symbols', async () => {
    const { errors } = await server.request(
      `query ($symbols: [String!]!) { latestPredictions(account: "main", symbols: $symbols) { id } }`,
      { symbols: many(501, () => ({})).map(() => 'A') },
    );
    expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', path: ['symbols'] });
  });
});
