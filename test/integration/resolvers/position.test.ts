import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  close,
  codesOf,
  inputOf,
  open,
  openOne,
  type PositionNode,
  positionOf,
  refusalOf,
  statusesOf,
  UPDATE,
  update,
} from '../../support/documents.ts';
import { type Item, makeSymbol, many, openItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const PER_ITEM = { mode: 'PER_ITEM' } as const;

function setMark(symbol: string, price: string) {
  return server.sql`insert into marks values ('main', 'bybit', ${symbol}, ${price}, now())
    on conflict (account_id, exchange, symbol) do update set price = excluded.price`;
}

async function updateOne(item: Item): Promise<PositionNode> {
  const { results } = await update(server, [item]);
  return positionOf(results[0]);
}

describe('updatePositions', () => {
  it('changes what is given, leaves alone what is absent and clears what is null', async () => {
    const { id } = await openOne(
      server,
      openItem({ stopLossPrice: '90', takeProfitPrice: '120', metadata: { a: 1 } }),
    );
    expect(await updateOne({ id, stopLossPrice: '95', leverage: '3' })).toMatchObject({
      stopLossPrice: '95',
      takeProfitPrice: '120',
      leverage: '3',
      metadata: { a: 1 },
      version: 2,
    });
    expect(await updateOne({ id, takeProfitPrice: null, metadata: null })).toMatchObject({
      stopLossPrice: '95',
      takeProfitPrice: null,
      leverage: '3',
      metadata: null,
      version: 3,
    });
  });

  it('says UNCHANGED and writes nothing when nothing differs', async () => {
    const item = openItem({ stopLossPrice: '90', metadata: { b: 2, a: { d: 4, c: 3 } } });
    const { id } = await openOne(server, item);
    const before = await server.inventory();
    const batch = await update(server, [
      { id, stopLossPrice: '90.0', leverage: '1', metadata: { a: { c: 3, d: 4 }, b: 2 } },
    ]);
    expect(statusesOf(batch)).toEqual(['UNCHANGED']);
    expect(batch.results[0]?.position).toMatchObject({ id, version: 1 });
    expect(await server.inventory()).toEqual(before);
  });

  it('answers each item in input order under PER_ITEM', async () => {
    const [a, b, c] = await Promise.all(
      many(3, () => openItem()).map((one) => openOne(server, one)),
    );
    const missing = `${a?.id.slice(0, -4)}0000`;
    await close(server, [{ id: c?.id, price: '100' }]);
    const batch = await update(
      server,
      [
        { id: b?.id, leverage: '2', expectedVersion: 1 },
        { id: missing, leverage: '2' },
        { id: a?.id, leverage: '-2' },
        { id: c?.id, leverage: '2' },
        { exchange: 'bybit', symbol: a?.symbol, side: 'LONG', leverage: '2', expectedVersion: 7 },
      ],
      PER_ITEM,
    );
    expect(statusesOf(batch)).toEqual(['UPDATED', 'NOT_FOUND', 'REJECTED', 'CONFLICT', 'CONFLICT']);
    expect(codesOf(batch)).toEqual([
      null,
      'NOT_FOUND',
      'BAD_INPUT',
      'POSITION_NOT_OPEN',
      'VERSION_CONFLICT',
    ]);
    expect(batch.results[4]?.error?.path).toEqual(['input', 'items', '4', 'expectedVersion']);
    expect(batch.results[4]?.position).toMatchObject({ id: a?.id, version: 1, leverage: '1' });
  });

  it('writes nothing under ATOMIC when one version is stale', async () => {
    const [a, b] = [await openOne(server, openItem()), await openOne(server, openItem())];
    await updateOne({ id: b.id, leverage: '2' });
    const before = await server.inventory();
    const items = [a, b].map(({ id }) => ({ id, leverage: '5', expectedVersion: 1 }));
    const refusal = refusalOf(await server.request(UPDATE, inputOf(items)));
    expect(refusal.extensions).toMatchObject({
      code: 'BATCH_REJECTED',
      items: [{ status: 'NOT_ATTEMPTED' }, { status: 'CONFLICT', code: 'VERSION_CONFLICT' }],
    });
    expect(await server.inventory()).toEqual(before);
  });

  it('writes nothing under VALIDATE_ONLY', async () => {
    const { id } = await openOne(server, openItem());
    const before = await server.inventory();
    const batch = await update(server, [{ id, leverage: '5' }], { mode: 'VALIDATE_ONLY' });
    expect(batch.results[0]).toMatchObject({ status: 'UPDATED', position: { leverage: '5' } });
    expect(await server.inventory()).toEqual(before);
  });

  it('judges a stop by the mark, so that it may lock in a profit', async () => {
    const { id, symbol } = await openOne(server, openItem());
    const refused = await update(server, [{ id, stopLossPrice: '105' }], PER_ITEM);
    expect(codesOf(refused)).toEqual(['STOP_ON_WRONG_SIDE']);
    await setMark(symbol, '110');
    expect((await updateOne({ id, stopLossPrice: '105' })).stopLossPrice).toBe('105');
    const crossed = await update(server, [{ id, stopLossPrice: '111' }], PER_ITEM);
    expect(codesOf(crossed)).toEqual(['STOP_ON_WRONG_SIDE']);
  });

  it('does not hold a stop against an item that leaves it alone', async () => {
    const { id, symbol } = await openOne(server, openItem({ stopLossPrice: '90' }));
    await setMark(symbol, '80');
    expect(await updateOne({ id, leverage: '2' })).toMatchObject({ stopLossPrice: '90' });
  });

  it.each<[string, Item, string]>([
    ['a leverage that is cleared', { leverage: null }, 'leverage'],
    ['a leverage above 1000', { leverage: '1000.1' }, 'leverage'],
    ['a stop of nothing', { stopLossPrice: '0' }, 'stopLossPrice'],
    ['metadata above 16 KiB', { metadata: 'x'.repeat(16_384) }, 'metadata'],
  ])('rejects %s', async (_what, changes, field) => {
    const { id } = await openOne(server, openItem());
    const batch = await update(server, [{ id, ...changes }], PER_ITEM);
    expect(batch.results[0]).toMatchObject({
      status: 'REJECTED',
      error: { code: 'BAD_INPUT', path: ['input', 'items', '0', field] },
    });
  });

  it('accepts a leverage of 1000 and metadata of 16 KiB', async () => {
    const { id } = await openOne(server, openItem());
    const metadata = 'x'.repeat(16_382);
    expect(await updateOne({ id, leverage: '1000', metadata })).toMatchObject({ metadata });
  });

  it('lets one of two writers of the same version win', async () => {
    const { id } = await openOne(server, openItem());
    const holder = server.connect();
    await holder`begin`;
    await holder`select id from positions where id = ${id.split('.')[2] ?? ''} for update`;
    const both = ['2', '3'].map((leverage) =>
      update(server, [{ id, leverage, expectedVersion: 1 }], PER_ITEM),
    );
    await server.untilBlocked(2);
    await holder`rollback`;
    const codes = (await Promise.all(both)).map((batch) => codesOf(batch)[0]);
    expect(codes.sort()).toEqual(['VERSION_CONFLICT', null]);
  });
});

interface Page {
  readonly positions: {
    readonly edges: readonly { readonly cursor: string }[];
    readonly nodes: readonly { readonly symbol: string }[];
    readonly pageInfo: {
      readonly hasNextPage: boolean;
      readonly hasPreviousPage: boolean;
      readonly startCursor: string | null;
      readonly endCursor: string | null;
    };
  };
}

const PAGE = `query (
  $where: PositionWhere, $sort: SortDirection, $first: Int, $after: String, $last: Int,
  $before: String
) {
  positions(account: "main", where: $where, sort: $sort, first: $first, after: $after, last: $last,
    before: $before
  ) {
    edges { cursor }
    nodes { symbol }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}`;

describe('positions', () => {
  const symbols = Array.from({ length: 7 }, makeSymbol);

  beforeAll(async () => {
    const items = symbols.map((symbol, index) =>
      openItem({
        symbol,
        strategy: 'paging',
        side: index === 6 ? 'SHORT' : 'LONG',
        openedAt: `2026-04-0${index + 1}T00:00:00Z`,
      }),
    );
    await open(server, items);
    await close(server, [{ exchange: 'bybit', symbol: symbols[5], side: 'LONG', price: '1' }]);
  });

  async function page(changes: Item) {
    const variables = { where: { strategy: 'paging' }, ...changes };
    const { positions } = await server.data<Page>(PAGE, variables);
    return { ...positions.pageInfo, symbols: positions.nodes.map((node) => node.symbol) };
  }

  it('pages forward from the newest to the oldest', async () => {
    const first = await page({ first: 3 });
    expect(first).toMatchObject({ hasNextPage: true, hasPreviousPage: false });
    const second = await page({ first: 3, after: first.endCursor });
    expect(second).toMatchObject({ hasNextPage: true, hasPreviousPage: true });
    const third = await page({ first: 3, after: second.endCursor });
    expect(third).toMatchObject({ hasNextPage: false, hasPreviousPage: true });
    const seen = [first, second, third].flatMap((one) => one.symbols);
    expect(seen).toEqual(symbols.toReversed());
  });

  it('pages backward from a cursor, in the same order', async () => {
    const all = await page({});
    const back = await page({ last: 3, before: all.endCursor });
    expect(back.symbols).toEqual(symbols.toReversed().slice(3, 6));
    expect(back).toMatchObject({ hasNextPage: true, hasPreviousPage: true });
    const rest = await page({ last: 3, before: back.startCursor });
    expect(rest.symbols).toEqual(symbols.toReversed().slice(0, 3));
    expect(rest).toMatchObject({ hasNextPage: true, hasPreviousPage: false });
  });

  it('pages in ascending order too', async () => {
    const first = await page({ sort: 'ASC', first: 4 });
    const second = await page({ sort: 'ASC', first: 4, after: first.endCursor });
    expect([...first.symbols, ...second.symbols]).toEqual(symbols);
    expect((await page({ sort: 'ASC', last: 2 })).symbols).toEqual(symbols.slice(5));
  });

  it('keeps a page right while rows are added', async () => {
    const first = await page({ sort: 'ASC', first: 2 });
    const strategy = 'paging';
    const late = openItem({ strategy, openedAt: '2026-03-31T00:00:00Z' });
    const { id } = await openOne(server, late);
    const second = await page({ sort: 'ASC', first: 2, after: first.endCursor });
    expect(second.symbols).toEqual(symbols.slice(2, 4));
    await server.sql`delete from positions where id = ${id.split('.')[2] ?? ''}`;
  });

  it.each<[string, Item, () => readonly (string | undefined)[]]>([
    ['status', { status: ['CLOSED'] }, () => [symbols[5]]],
    ['side', { side: 'SHORT' }, () => [symbols[6]]],
    ['symbols', { symbols: ['NONE', symbols[1], symbols[0]] }, () => [symbols[1], symbols[0]]],
    ['no symbol', { symbols: [] }, () => []],
    ['exchange', { exchange: 'okx' }, () => []],
    [
      'range with its start and without its end',
      { openedAt: { from: '2026-04-02T00:00:00Z', to: '2026-04-04T02:00:00+02:00' } },
      () => [symbols[2], symbols[1]],
    ],
  ])('filters by %s', async (_what, where, expected) => {
    const found = await page({ where: { strategy: 'paging', ...where } });
    expect(found.symbols).toEqual(expected());
  });

  it('filters by global ids', async () => {
    const { id, symbol } = await openOne(server, openItem());
    expect((await page({ where: { ids: [id] } })).symbols).toEqual([symbol]);
  });

  it('counts all that match, in a statement of its own, only when asked', async () => {
    server.statements();
    await page({ first: 2 });
    expect(server.statements()).toEqual(['positions.list']);
    const counted = await server.data<{ positions: { totalCount: number; nodes: object[] } }>(
      `{ positions(account: "main", where: { strategy: "paging" }, first: 2) {
        totalCount nodes { id }
      } }`,
    );
    expect(counted.positions.totalCount).toBe(7);
    expect(counted.positions.nodes).toHaveLength(2);
    expect(server.statements()).toEqual(['positions.list', 'positions.count']);
  });

  it('reads the marks and the account of a page in one statement each', async () => {
    await setMark(symbols[0] ?? '', '101');
    server.statements();
    const { positions } = await server.data<{
      positions: { nodes: { symbol: string; markPrice: string; account: { id: string } }[] };
    }>(`{ positions(account: "main", where: { strategy: "paging" }) {
      nodes { symbol markPrice unrealizedPnl account { id } }
    } }`);
    expect(positions.nodes.at(-1)).toMatchObject({ markPrice: '101', account: { id: 'main' } });
    const statements = [...server.statements()].sort();
    expect(statements).toEqual(['accounts.findByIds', 'marks.find', 'positions.list']);
  });

  it.each<[string, Item, string]>([
    ['a page of 501', { first: 501 }, 'first'],
    ['a page of none', { last: 0 }, 'last'],
    ['both ends', { first: 1, last: 1 }, 'last'],
    ['a cursor of another kind', { after: '12.34' }, 'after'],
    ['an id of another kind', { where: { ids: ['trade.main.x'] } }, 'where'],
  ])('refuses %s', async (_what, changes, field) => {
    const { errors } = await server.request(PAGE, changes);
    const path = expect.arrayContaining([field]);
    expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', path });
  });

  it('gives a page of 500', async () => {
    expect((await page({ first: 500 })).symbols).toHaveLength(7);
  });
});
