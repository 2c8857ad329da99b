import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CLOSE,
  close,
  codesOf,
  inputOf,
  openOne,
  type PositionNode,
  positionOf,
  refusalOf,
  statusesOf,
} from '../../support/documents.ts';
import { type Item, makeSymbol, many, openItem } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const PER_ITEM = { mode: 'PER_ITEM' } as const;

async function closeOne(item: Item): Promise<PositionNode> {
  const { results } = await close(server, [item]);
  return positionOf(results[0]);
}

function rowIdOf({ id }: PositionNode): string {
  return id.split('.')[2] ?? '';
}

function tradesOf(position: PositionNode) {
  return server.sql`
    select side, trim_scale(price) as price, trim_scale(quantity) as quantity,
      trim_scale(realized_pnl) as realized_pnl, trim_scale(commission) as commission, executed_at
    from trades where position_id = ${rowIdOf(position)} order by executed_at, id`;
}

describe('closePositions', () => {
  it('closes all of a position and writes the trade that realizes its profit', async () => {
    const position = await openOne(server, openItem({ openedAt: '2026-02-01T00:00:00Z' }));
    const closedAt = '2026-02-01T00:00:01.000001Z';
    const item = { id: position.id, price: '110.5', fees: '0.25', reason: 'target', closedAt };
    expect(await closeOne(item)).toMatchObject({
      status: 'CLOSED',
      quantity: '0',
      entryPrice: '100',
      realizedPnl: '21',
      unrealizedPnl: '0',
      fees: '0.25',
      closeReason: 'target',
      closedAt,
      version: 2,
    });
    const [opening, closing] = await tradesOf(position);
    expect(opening).toMatchObject({ side: 'BUY', realizedPnl: '0' });
    expect(closing).toEqual({
      side: 'SELL',
      price: '110.5',
      quantity: '2',
      realizedPnl: '21',
      commission: '0.25',
      executedAt: closedAt,
    });
  });

  it.each([
    ['LONG', '0.1', '0.3', '3', '0.6'],
    ['SHORT', '0.1', '0.3', '3', '-0.6'],
    ['LONG', '1.1', '1.1', '7', '0'],
    ['SHORT', '100000000000000000', '0.1', '0.1', '9999999999999999.99'],
    ['LONG', '0.000000000000000001', '0.000000000000000003', '1', '0.000000000000000002'],
    ['LONG', '1', '1.000000000000000001', '0.5', '0'],
    ['LONG', '1', '1.000000000000000003', '0.5', '0.000000000000000002'],
  ])(
    'realizes exactly: %s %s to %s times %s is %s',
    async (side, entryPrice, price, quantity, pnl) => {
      const { id } = await openOne(server, openItem({ side, entryPrice, quantity }));
      expect((await closeOne({ id, price })).realizedPnl).toBe(pnl);
    },
  );

  it('keeps what is left of a part, and adds up the profits of the parts', async () => {
    const position = await openOne(server, openItem({ side: 'SHORT', quantity: '1' }));
    const { id } = position;
    expect(await closeOne({ id, price: '90', quantity: '0.3', fees: '0.1' })).toMatchObject({
      status: 'OPEN',
      quantity: '0.7',
      realizedPnl: '3',
      fees: '0.1',
      closedAt: null,
      version: 2,
    });
    expect(await closeOne({ id, price: '95', quantity: '0.7', fees: '0.2' })).toMatchObject({
      status: 'CLOSED',
      quantity: '0',
      realizedPnl: '6.5',
      fees: '0.3',
      version: 3,
    });
    const trades = await tradesOf(position);
    expect(trades.map(({ side, quantity, realizedPnl }) => [side, quantity, realizedPnl])).toEqual([
      ['SELL', '1', '0'],
      ['BUY', '0.3', '3'],
      ['BUY', '0.7', '3.5'],
    ]);
  });

  it('marks what the exchange closed as liquidated', async () => {
    const { id } = await openOne(server, openItem());
    const position = await closeOne({ id, price: '1', liquidated: true });
    expect(position).toMatchObject({ status: 'LIQUIDATED', realizedPnl: '-198', quantity: '0' });
    const again = await close(server, [{ id, price: '1' }], PER_ITEM);
    expect(codesOf(again)).toEqual(['POSITION_NOT_OPEN']);
  });

  it('finds the open position by exchange, symbol and side', async () => {
    const first = await openOne(server, openItem());
    const { exchange, symbol, side } = first;
    await closeOne({ exchange, symbol, side, price: '101' });
    const second = await openOne(server, openItem({ symbol }));
    expect((await closeOne({ exchange, symbol, side, price: '99' })).id).toBe(second.id);
    const none = await close(server, [{ exchange, symbol, side, price: '99' }], PER_ITEM);
    expect(statusesOf(none)).toEqual(['NOT_FOUND']);
  });

  it('refuses the one item whose profit would have too many digits, and closes the others', async () => {
    const huge = await openOne(server, openItem({ quantity: '1000000000000' }));
    const other = await openOne(server, openItem());
    const items = [
      { id: huge.id, price: '1000000000000' },
      { id: other.id, price: '101' },
    ];
    const closed = await close(server, items, PER_ITEM);
    expect(statusesOf(closed)).toEqual(['REJECTED', 'UPDATED']);
    expect(codesOf(closed)).toEqual(['BAD_INPUT', null]);
  });

  it('answers each item in input order under PER_ITEM', async () => {
    const [a, b, closed] = await Promise.all([
      openOne(server, openItem()),
      openOne(server, openItem()),
      openOne(server, openItem()),
    ]);
    await closeOne({ id: closed.id, price: '1' });
    const missing = `position.main.${rowIdOf(a).slice(0, -4)}0000`;
    const batch = await close(
      server,
      [
        { id: closed.id, price: '2' },
        { id: a.id, price: '0' },
        { id: b.id, price: '101', expectedVersion: 1 },
        { id: missing, price: '2' },
        { id: a.id, price: '101', expectedVersion: 2 },
      ].toSpliced(1, 1),
      PER_ITEM,
    );
    expect(statusesOf(batch)).toEqual(['CONFLICT', 'UPDATED', 'NOT_FOUND', 'CONFLICT']);
    expect(codesOf(batch)).toEqual(['POSITION_NOT_OPEN', null, 'NOT_FOUND', 'VERSION_CONFLICT']);
    expect(batch.counts).toMatchObject({ conflict: 2, updated: 1, notFound: 1 });
    expect(batch.results[3]?.position).toMatchObject({ id: a.id, status: 'OPEN', version: 1 });
  });

  it('closes nothing under ATOMIC when one item is refused', async () => {
    const { id } = await openOne(server, openItem());
    const before = await server.inventory();
    const items = [
      { id, price: '110' },
      { exchange: 'bybit', symbol: 'NOWHERE', side: 'LONG', price: '1' },
    ];
    const refusal = refusalOf(await server.request(CLOSE, inputOf(items)));
    expect(refusal.extensions).toMatchObject({
      code: 'BATCH_REJECTED',
      items: [{ status: 'NOT_ATTEMPTED' }, { status: 'NOT_FOUND', code: 'NOT_FOUND' }],
    });
    expect(await server.inventory()).toEqual(before);
  });

  it('shows under VALIDATE_ONLY what a close would bring, and leaves it open', async () => {
    const { id } = await openOne(server, openItem());
    const before = await server.inventory();
    const items = [{ id, price: '110', clientId: 'validated' }];
    const batch = await close(server, items, { mode: 'VALIDATE_ONLY' });
    expect(batch.results[0]?.position).toMatchObject({ status: 'CLOSED', realizedPnl: '20' });
    expect(await server.inventory()).toEqual(before);
    expect(statusesOf(await close(server, items))).toEqual(['UPDATED']);
  });

  it('replays the same close under its clientId', async () => {
    const { id } = await openOne(server, openItem());
    const item = { id, price: '110', quantity: '1', clientId: 'close-1' };
    await closeOne(item);
    const again = await close(server, [item]);
    expect(statusesOf(again)).toEqual(['REPLAYED']);
    expect(again.results[0]?.position).toMatchObject({ quantity: '1', version: 2 });
  });

  it('is a conflict when the clientId comes with another close', async () => {
    const { id } = await openOne(server, openItem());
    const other = await openOne(server, openItem());
    const item = { id, price: '110', clientId: 'close-2' };
    await closeOne(item);
    const price = await close(server, [{ ...item, price: '111' }], PER_ITEM);
    expect(codesOf(price)).toEqual(['CLIENT_ID_REUSED']);
    const elsewhere = await close(server, [{ ...item, id: other.id }], PER_ITEM);
    expect(codesOf(elsewhere)).toEqual(['CLIENT_ID_REUSED']);
  });

  it('takes a clientId that another request commits meanwhile for a conflict', async () => {
    const [mine, other] = [await openOne(server, openItem()), await openOne(server, openItem())];
    const holder = server.connect();
    await holder`begin`;
    await holder`
      insert into trades (account_id, id, exchange, symbol, side, price, quantity, executed_at,
        position_id, client_id, item_hash)
      values ('main', gen_random_uuid(), 'bybit', ${other.symbol}, 'SELL', 1, 1, now(),
        ${rowIdOf(other)}, 'close-meanwhile', '\\x00')`;
    const item = { id: mine.id, price: '110', clientId: 'close-meanwhile' };
    const waiting = close(server, [item], PER_ITEM);
    await server.untilBlocked(1);
    await holder`commit`;
    expect(codesOf(await waiting)).toEqual(['CLIENT_ID_REUSED']);
  });

  it('lets one of two concurrent closes win', async () => {
    const { id } = await openOne(server, openItem());
    const holder = server.connect();
    await holder`begin`;
    await holder`select id from positions where id = ${id.split('.')[2] ?? ''} for update`;
    const both = ['110', '120'].map((price) => close(server, [{ id, price }], PER_ITEM));
    await server.untilBlocked(2);
    await holder`rollback`;
    const batches = await Promise.all(both);
    expect(batches.map((batch) => statusesOf(batch)[0]).sort()).toEqual(['CONFLICT', 'UPDATED']);
    const loser = batches.find((batch) => statusesOf(batch)[0] === 'CONFLICT');
    const winner = batches.find((batch) => statusesOf(batch)[0] === 'UPDATED');
    expect(loser?.results[0]?.error?.code).toBe('POSITION_NOT_OPEN');
    expect(loser?.results[0]?.position).toEqual(winner?.results[0]?.position);
  });

  it('leaves a position alone that fills of orders move', async () => {
    const { id } = await openOne(server, openItem());
    await server.sql`update positions set has_fills = true where id = ${id.split('.')[2] ?? ''}`;
    const batch = await close(server, [{ id, price: '110' }], PER_ITEM);
    expect(statusesOf(batch)).toEqual(['CONFLICT']);
    expect(codesOf(batch)).toEqual(['MANAGED_BY_FILLS']);
  });

  it.each<[string, Item, string]>([
    ['more than is open', { quantity: '2.000000000000000001' }, 'quantity'],
    ['a part of nothing', { quantity: '0' }, 'quantity'],
    ['a price of nothing', { price: '0' }, 'price'],
    ['negative fees', { fees: '-0.1' }, 'fees'],
    ['a liquidated part', { quantity: '1', liquidated: true }, 'liquidated'],
    ['an instant before the opening', { closedAt: '2026-01-01T00:00:00Z' }, 'closedAt'],
    ['an instant far ahead', { closedAt: '2099-01-01T00:00:00Z' }, 'closedAt'],
    ['a reason with a line break', { reason: 'a\nb' }, 'reason'],
  ])('rejects %s', async (_what, changes, field) => {
    const { id } = await openOne(server, openItem());
    const batch = await close(server, [{ id, price: '110', ...changes }], PER_ITEM);
    expect(statusesOf(batch)).toEqual(['REJECTED']);
    expect(batch.results[0]?.error).toMatchObject({
      code: 'BAD_INPUT',
      path: ['input', 'items', '0', field],
    });
  });

  it('rejects an item that names its position both ways, in part, or not at all', async () => {
    const { id, exchange, symbol, side } = await openOne(server, openItem());
    const names = [{ id, exchange, symbol, side }, { exchange, symbol }, {}];
    const batch = await close(
      server,
      names.map((name) => ({ ...name, price: '110' })),
      PER_ITEM,
    );
    expect(codesOf(batch)).toEqual(['BAD_INPUT', 'BAD_INPUT', 'BAD_INPUT']);
  });

  it('refuses the second item of a batch that names the same position', async () => {
    const { id, exchange, symbol, side } = await openOne(server, openItem());
    const items = [
      { id, price: '110', quantity: '1' },
      { exchange, symbol, side, price: '110', quantity: '1' },
      { id, price: '110' },
    ];
    const batch = await close(server, items, PER_ITEM);
    expect(statusesOf(batch)).toEqual(['UPDATED', 'REJECTED', 'REJECTED']);
    expect(codesOf(batch)).toEqual([null, 'DUPLICATE_IN_BATCH', 'DUPLICATE_IN_BATCH']);
  });

  it('takes five statements for any number of items', async () => {
    const symbols = Array.from({ length: 20 }, makeSymbol);
    const opened = await Promise.all(
      symbols.map((symbol) => openOne(server, openItem({ symbol }))),
    );
    server.statements();
    await server.data(
      `mutation ($input: ClosePositionsInput!) {
        closePositions(input: $input) { counts { updated } }
      }`,
      inputOf(many(20, (index) => ({ id: opened[index]?.id, price: '110' }))),
    );
    expect(server.statements()).toEqual([
      'transaction.begin',
      'positions.lockByIds',
      'units.write',
      'changes.append',
      'transaction.commit',
    ]);
  });
});
