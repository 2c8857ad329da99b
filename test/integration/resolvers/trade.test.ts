import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { close, openOne } from '../../support/documents.ts';
import { type Item, makeSymbol, many, openItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import {
  fillItem,
  orderItem,
  orderOf,
  place,
  placeOne,
  record,
  recordOne,
} from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

interface Node {
  readonly id: string;
  readonly exchangeTradeId: string | null;
}

interface Listed {
  readonly trades: {
    readonly totalCount: number;
    readonly nodes: readonly Node[];
    readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string };
  };
}

const LIST = `query ($where: TradeWhere, $first: Int, $after: String, $sort: SortDirection) {
  trades(account: "main", where: $where, first: $first, after: $after, sort: $sort) {
    totalCount nodes { id exchangeTradeId } pageInfo { hasNextPage endCursor }
  }
}`;

async function list(where: Item): Promise<Listed['trades']> {
  return (await server.data<Listed>(LIST, { where, sort: 'ASC' })).trades;
}

/** Three orders of one symbol: two fills that open, one that closes and flips. */
async function flipped() {
  const symbol = makeSymbol();
  const items = [
    orderItem({ symbol, strategy: 'a' }),
    orderItem({ symbol, side: 'SELL', quantity: '5', strategy: 'b' }),
  ];
  const [buy, sell] = (await place(server, items)).results.map(orderOf);
  const { results } = await record(server, [
    fillItem(buy?.clientOrderId ?? '', { executedAt: '2026-02-01T00:00:00.000001Z' }),
    fillItem(buy?.clientOrderId ?? '', { executedAt: '2026-02-01T00:00:00.000002Z' }),
    fillItem(sell?.clientOrderId ?? '', {
      quantity: '5',
      executedAt: '2026-02-01T00:00:01Z',
    }),
  ]);
  const flip = results[2];
  if (!buy || !sell || !flip?.position || !flip.openedPosition) throw new Error('no flip');
  const { position: closed, openedPosition: opened } = flip;
  return { symbol, buy, sell, closed, opened, ids: results.map((one) => one.trade?.id ?? '') };
}

describe('trades', () => {
  it('keeps the order of arrival within a millisecond', async () => {
    const { clientOrderId, symbol } = await placeOne(server, { quantity: '50' });
    const fills = many(50, () => fillItem(clientOrderId));
    await record(server, fills);
    const { nodes, totalCount } = await list({ symbols: [symbol] });
    expect(totalCount).toBe(50);
    expect(nodes.map((node) => node.exchangeTradeId)).toEqual(
      fills.map((fill) => fill.exchangeTradeId),
    );
  });

  it('filters by everything a filter names', async () => {
    const { symbol, buy, sell, closed, opened, ids } = await flipped();
    const [first, second, flip] = ids;
    const cases: [Item, (string | undefined)[]][] = [
      [{ symbols: [symbol], exchange: 'okx' }, []],
      [{ symbols: [symbol], side: 'SELL' }, [flip]],
      [{ symbols: [symbol], strategy: 'a' }, [first, second]],
      [{ orderIds: [buy.id] }, [first, second]],
      [{ orderIds: [buy.id, sell.id] }, [first, second, flip]],
      [{ positionIds: [closed.id] }, [first, second, flip]],
      [{ positionIds: [opened.id] }, [flip]],
      [{ symbols: [symbol], executedAt: { from: '2026-02-01T00:00:00.000002Z' } }, [second, flip]],
      [{ symbols: [symbol], executedAt: { to: '2026-02-01T00:00:00.000002Z' } }, [first]],
    ];
    for (const [where, expected] of cases) {
      expect((await list(where)).nodes.map((node) => node.id)).toEqual(expected);
    }
  });

  it('pages to the end', async () => {
    const { clientOrderId, symbol } = await placeOne(server, { quantity: '5' });
    await record(
      server,
      many(5, () => fillItem(clientOrderId)),
    );
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const variables: Item = { where: { symbols: [symbol] }, first: 2, after };
      const { trades }: Listed = await server.data<Listed>(LIST, variables);
      seen.push(...trades.nodes.map((node) => node.id));
      after = trades.pageInfo.hasNextPage ? trades.pageInfo.endCursor : null;
    } while (after !== null);
    expect(new Set(seen).size).toBe(5);
  });

  it('shows openings and closings that have no order', async () => {
    const position = await openOne(server, openItem());
    await close(server, [{ id: position.id, price: '90' }]);
    const data = await server.data(
      `query ($id: ID!) {
        trades(account: "main", where: { positionIds: [$id] }, sort: ASC) {
          nodes { side realizedPnl order { id } position { id } openedPosition { id } }
        }
      }`,
      { id: position.id },
    );
    const common = { order: null, position: { id: position.id }, openedPosition: null };
    expect(data).toEqual({
      trades: {
        nodes: [
          { side: 'BUY', realizedPnl: '0', ...common },
          { side: 'SELL', realizedPnl: '-20', ...common },
        ],
      },
    });
  });

  it('is found by its global id', async () => {
    const { clientOrderId } = await placeOne(server);
    const { trade, order } = await recordOne(server, fillItem(clientOrderId));
    const data = await server.data('query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }', {
      ids: [trade?.id, order?.id],
    });
    expect(data).toEqual({
      nodes: [
        { __typename: 'Trade', id: trade?.id },
        { __typename: 'Order', id: order?.id },
      ],
    });
  });
});

describe('relations', () => {
  it('reads each relation of a page of orders in one statement', async () => {
    const { symbol, buy, sell, closed, opened, ids } = await flipped();
    const document = `query ($where: OrderWhere) {
      orders(account: "main", where: $where, sort: ASC) {
        nodes {
          id position { id }
          trades { id order { id } position { id } openedPosition { id } }
        }
      }
    }`;
    server.statements();
    const data = await server.data(document, { where: { symbols: [symbol] } });
    const fill = (id: string | undefined, order: string, openedPosition: unknown = null) => ({
      id,
      order: { id: order },
      position: { id: closed.id },
      openedPosition,
    });
    expect(data).toEqual({
      orders: {
        nodes: [
          {
            id: buy.id,
            position: { id: closed.id },
            trades: [fill(ids[0], buy.id), fill(ids[1], buy.id)],
          },
          {
            id: sell.id,
            position: { id: opened.id },
            trades: [fill(ids[2], sell.id, { id: opened.id })],
          },
        ],
      },
    });
    expect(server.statements().toSorted()).toEqual([
      'orders.findByIds',
      'orders.list',
      'positions.findByIds',
      'trades.listByOrders',
    ]);
  });

  it('reads each relation of a page of positions in one statement', async () => {
    const { symbol, buy, sell, closed, opened, ids } = await flipped();
    const document = `query ($where: PositionWhere) {
      positions(account: "main", where: $where, sort: ASC) {
        nodes {
          id orders { id } trades { id }
          changes(first: 2) { nodes { operation after } pageInfo { hasNextPage } }
        }
      }
    }`;
    server.statements();
    const data = await server.data(document, { where: { symbols: [symbol] } });
    const history = (status: string) => ({
      nodes: [{ operation: 'INSERT', after: expect.objectContaining({ status }) }],
      pageInfo: { hasNextPage: false },
    });
    expect(data).toEqual({
      positions: {
        nodes: [
          {
            id: closed.id,
            orders: [{ id: buy.id }, { id: sell.id }],
            trades: ids.map((id) => ({ id })),
            changes: history('CLOSED'),
          },
          {
            id: opened.id,
            orders: [{ id: sell.id }],
            trades: [{ id: ids[2] }],
            changes: history('OPEN'),
          },
        ],
      },
    });
    expect(server.statements().toSorted()).toEqual([
      'changes.listByRows',
      'changes.readHeads',
      'orders.listByPositions',
      'positions.list',
      'trades.listByPositions',
    ]);
  });

  it('pages through the history of a position', async () => {
    const { clientOrderId, symbol } = await placeOne(server, { quantity: '3' });
    for (const _turn of [1, 2, 3]) await recordOne(server, fillItem(clientOrderId));
    const document = `query ($where: PositionWhere, $after: String) {
      positions(account: "main", where: $where) {
        nodes {
          changes(first: 2, after: $after) { nodes { seq } pageInfo { hasNextPage endCursor } }
        }
      }
    }`;
    interface Page {
      readonly positions: {
        readonly nodes: readonly {
          readonly changes: {
            readonly nodes: readonly { readonly seq: string }[];
            readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string };
          };
        }[];
      };
    }
    const where = { symbols: [symbol] };
    const first = (await server.data<Page>(document, { where })).positions.nodes[0]?.changes;
    expect(first?.nodes).toHaveLength(2);
    expect(first?.pageInfo.hasNextPage).toBe(true);
    const variables = { where, after: first?.pageInfo.endCursor };
    const second = (await server.data<Page>(document, variables)).positions.nodes[0]?.changes;
    expect(second?.nodes).toHaveLength(1);
    expect(second?.pageInfo.hasNextPage).toBe(false);
  });

  it('gives the newest 500 of the trades of one order, oldest first', async () => {
    const { id, clientOrderId } = await placeOne(server, { quantity: '501' });
    const fills = many(501, () => fillItem(clientOrderId));
    await record(server, fills);
    const data = await server.data<{ node: { trades: readonly Node[] } }>(
      'query ($id: ID!) { node(id: $id) { ... on Order { trades { exchangeTradeId } } } }',
      { id },
    );
    expect(data.node.trades.map((trade) => trade.exchangeTradeId)).toEqual(
      fills.slice(1).map((fill) => fill.exchangeTradeId),
    );
  });
});
