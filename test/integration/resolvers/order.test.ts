import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inputOf, refusalOf } from '../../support/documents.ts';
import { type Item, makeSymbol, many } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { amend, orderItem, orderOf, PLACE, place, placeOne } from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const LIST = `query ($where: OrderWhere, $first: Int, $after: String, $sort: SortDirection) {
  orders(account: "main", where: $where, first: $first, after: $after, sort: $sort) {
    totalCount nodes { id clientOrderId } pageInfo { hasNextPage endCursor }
  }
}`;

interface Listed {
  readonly orders: {
    readonly totalCount: number;
    readonly nodes: readonly { readonly id: string; readonly clientOrderId: string }[];
    readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string };
  };
}

describe('orders', () => {
  it('pages in the order they were placed', async () => {
    const symbol = makeSymbol();
    const items = many(7, () => orderItem({ symbol }));
    await place(server, items);
    const names: string[] = [];
    let after: string | null = null;
    do {
      const variables: Item = { where: { symbols: [symbol] }, first: 3, after, sort: 'ASC' };
      const { orders }: Listed = await server.data<Listed>(LIST, variables);
      expect(orders.totalCount).toBe(7);
      names.push(...orders.nodes.map((node) => node.clientOrderId));
      after = orders.pageInfo.hasNextPage ? orders.pageInfo.endCursor : null;
    } while (after !== null);
    expect(names).toEqual(items.map((item) => item.clientOrderId));
  });

  it('filters by everything a filter names', async () => {
    const symbol = makeSymbol();
    const wanted = await placeOne(server, { symbol, side: 'SELL', strategy: 'grid' });
    const { results } = await place(server, [orderItem({ symbol, exchange: 'okx' })]);
    const other = orderOf(results[0]);
    await amend(server, [{ id: other.id, status: 'OPEN' }]);
    const now = new Date(Date.now() + 1000).toISOString();
    const filters: Item[] = [
      { ids: [wanted.id] },
      { clientOrderIds: [wanted.clientOrderId] },
      { symbols: [symbol], exchange: 'bybit' },
      { symbols: [symbol], side: 'SELL' },
      { symbols: [symbol], strategy: 'grid' },
      { symbols: [symbol], status: ['PENDING'] },
      { ids: [wanted.id], createdAt: { from: '2026-01-01T00:00:00Z', to: now } },
    ];
    for (const where of filters) {
      const { orders } = await server.data<Listed>(LIST, { where });
      expect(orders.nodes.map((node) => node.id)).toEqual([wanted.id]);
    }
    const none = { ids: [wanted.id], createdAt: { to: '2026-01-01T00:00:00Z' } };
    expect((await server.data<Listed>(LIST, { where: none })).orders.nodes).toEqual([]);
  });

  it('bounds a time range to the microsecond', async () => {
    const { id } = await placeOne(server);
    const rowId = id.split('.')[2] ?? '';
    const [row] = await server.sql<{ at: string }[]>`
      select to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
      from orders where id = ${rowId}`;
    const at = row?.at ?? '';
    const count = async (createdAt: Item) => {
      const { orders } = await server.data<Listed>(LIST, { where: { ids: [id], createdAt } });
      return orders.nodes.length;
    };
    const after = at.replace('000Z', '001Z');
    expect([await count({ from: at }), await count({ from: after })]).toEqual([1, 0]);
    expect([await count({ to: at }), await count({ to: after })]).toEqual([0, 1]);
  });

  it('is found by its global id', async () => {
    const { id } = await placeOne(server);
    const data = await server.data(
      'query ($id: ID!) { node(id: $id) { __typename id ... on Order { status } } }',
      { id },
    );
    expect(data).toEqual({ node: { __typename: 'Order', id, status: 'PENDING' } });
  });

  it('needs the permission to write', async () => {
    const viewer = await server.issueKey('VIEWER', ['main']);
    const options = { key: viewer.token };
    const refusal = refusalOf(await server.request(PLACE, inputOf([orderItem()]), options));
    expect(refusal.extensions.code).toBe('FORBIDDEN');
    const listed = await server.request<Listed>(LIST, { first: 1 }, options);
    expect(listed.errors).toEqual([]);
  });
});
