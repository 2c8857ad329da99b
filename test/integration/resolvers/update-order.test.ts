import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codesOf, inputOf, statusesOf } from '../../support/documents.ts';
import { many } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import {
  AMEND,
  amend,
  makeName,
  orderIn,
  orderItem,
  orderOf,
  place,
  placeOne,
} from '../../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const PER_ITEM = { mode: 'PER_ITEM' } as const;

const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  PENDING: ['OPEN', 'CANCELED', 'REJECTED', 'EXPIRED'],
  OPEN: ['CANCELED', 'REJECTED', 'EXPIRED'],
  PARTIALLY_FILLED: ['CANCELED', 'EXPIRED'],
  FILLED: [],
  CANCELED: [],
  REJECTED: [],
  EXPIRED: [],
};
const MOVES = Object.entries(ALLOWED).flatMap(([from, allowed]) =>
  ['OPEN', 'CANCELED', 'REJECTED', 'EXPIRED'].map(
    (to) =>
      [
        from,
        to,
        from === to ? 'UNCHANGED' : allowed.includes(to) ? 'UPDATED' : 'CONFLICT',
      ] as const,
  ),
);

describe('updateOrders', () => {
  it.each(MOVES)('moves %s to %s: %s', async (from, to, expected) => {
    const before = await orderIn(server, from);
    const { results } = await amend(server, [{ id: before.id, status: to }], PER_ITEM);
    expect(results[0]).toMatchObject({
      status: expected,
      order: { status: expected === 'UPDATED' ? to : from },
    });
    if (expected === 'CONFLICT') {
      const isOpen = from === 'PARTIALLY_FILLED';
      expect(results[0]?.error?.code).toBe(isOpen ? 'ILLEGAL_TRANSITION' : 'ORDER_NOT_OPEN');
      expect(results[0]?.order).toEqual(before);
    }
    const isClosed = ['FILLED', 'CANCELED', 'REJECTED', 'EXPIRED'].includes(
      orderOf(results[0]).status,
    );
    expect(orderOf(results[0]).closedAt !== null).toBe(isClosed);
  });

  it('refuses a move against the machine in the UPDATE itself', async () => {
    const rows = await server.sql<{ state: string; next: string }[]>`
      with states (name) as (values ('PENDING'), ('OPEN'), ('PARTIALLY_FILLED'), ('FILLED'),
        ('CANCELED'), ('REJECTED'), ('EXPIRED'))
      select a.name as state, b.name as next from states a cross join states b
      where a.name <> b.name and order_may_become(a.name, b.name)`;
    const moves = Map.groupBy(rows, ({ state }) => state);
    const next = (state: string) => (moves.get(state) ?? []).map((move) => move.next).sort();
    expect(next('PENDING')).toEqual([
      'CANCELED',
      'EXPIRED',
      'FILLED',
      'OPEN',
      'PARTIALLY_FILLED',
      'REJECTED',
    ]);
    expect(next('OPEN')).toEqual(['CANCELED', 'EXPIRED', 'FILLED', 'PARTIALLY_FILLED', 'REJECTED']);
    expect(next('PARTIALLY_FILLED')).toEqual(['CANCELED', 'EXPIRED', 'FILLED']);
    expect([next('CANCELED'), next('EXPIRED')]).toEqual([['FILLED'], ['FILLED']]);
    expect([next('FILLED'), next('REJECTED')]).toEqual([[], []]);
  });

  it.each(['PENDING', 'PARTIALLY_FILLED', 'FILLED'])('does not set %s', async (status) => {
    const { id } = await placeOne(server);
    const { results } = await amend(server, [{ id, status }], PER_ITEM);
    expect(results[0]).toMatchObject({ status: 'REJECTED', error: { code: 'BAD_INPUT' } });
  });

  it('leaves an absent field alone and clears with null', async () => {
    const order = await placeOne(server, { stopLossPrice: '90', takeProfitPrice: '120' });
    const { results } = await amend(server, [
      { clientOrderId: order.clientOrderId, stopLossPrice: null, exchangeOrderId: 'x1' },
    ]);
    expect(results[0]?.order).toMatchObject({
      stopLossPrice: null,
      takeProfitPrice: '120',
      exchangeOrderId: 'x1',
      price: '100',
      version: 2,
    });
    const nulls = ['status', 'quantity', 'price'].map((name) => ({ id: order.id, [name]: null }));
    for (const item of nulls) {
      expect(codesOf(await amend(server, [item], PER_ITEM))).toEqual(['BAD_INPUT']);
    }
  });

  it('is UNCHANGED where nothing differs', async () => {
    const { id } = await placeOne(server);
    const item = { id, status: 'OPEN', exchangeOrderId: 'x', price: '101', metadata: { b: 1 } };
    expect(statusesOf(await amend(server, [item]))).toEqual(['UPDATED']);
    const again = await amend(server, [item]);
    expect(again.results[0]).toMatchObject({ status: 'UNCHANGED', order: { version: 2 } });
  });

  it('meets a stale version with the row as it is', async () => {
    const { id } = await placeOne(server);
    await amend(server, [{ id, status: 'OPEN' }]);
    const { results } = await amend(server, [{ id, price: '99', expectedVersion: 1 }], PER_ITEM);
    expect(results[0]).toMatchObject({
      status: 'CONFLICT',
      order: { version: 2, price: '100' },
      error: { code: 'VERSION_CONFLICT', path: ['input', 'items', '0', 'expectedVersion'] },
    });
    const current = { id, price: '99', expectedVersion: 2 };
    expect(statusesOf(await amend(server, [current]))).toEqual(['UPDATED']);
  });

  it('keeps a quantity above what is filled, and fills an order cut to it', async () => {
    const { id } = await orderIn(server, 'PARTIALLY_FILLED');
    const below = await amend(server, [{ id, quantity: '0.5' }], PER_ITEM);
    expect(below.results[0]).toMatchObject({
      status: 'CONFLICT',
      error: { code: 'BELOW_FILLED' },
    });
    const both = await amend(server, [{ id, quantity: '1', status: 'CANCELED' }], PER_ITEM);
    expect(codesOf(both)).toEqual(['ILLEGAL_TRANSITION']);
    const { results } = await amend(server, [{ id, quantity: '1' }]);
    expect(results[0]?.order).toMatchObject({ status: 'FILLED', closedAt: expect.any(String) });
  });

  it('lets remarks follow a closed order, but not its terms', async () => {
    const { id } = await orderIn(server, 'FILLED');
    const remarks = { id, exchangeOrderId: 'late', reason: 'why', metadata: [1] };
    expect(statusesOf(await amend(server, [remarks]))).toEqual(['UPDATED']);
    const terms = await amend(server, [{ id, price: '50' }], PER_ITEM);
    expect(codesOf(terms)).toEqual(['ORDER_NOT_OPEN']);
  });

  it('names by id or clientOrderId, and each row once', async () => {
    const { id, clientOrderId } = await placeOne(server);
    const amended = await amend(
      server,
      [
        { id, status: 'OPEN' },
        { clientOrderId, status: 'OPEN' },
        { id, reason: 'again' },
        {},
        { id, clientOrderId },
        { clientOrderId: makeName() },
        { id: 'position.main.01940000-0000-7000-8000-000000000001' },
      ],
      PER_ITEM,
    );
    expect(codesOf(amended)).toEqual([
      null,
      'DUPLICATE_IN_BATCH',
      'DUPLICATE_IN_BATCH',
      'BAD_INPUT',
      'BAD_INPUT',
      'NOT_FOUND',
      'BAD_INPUT',
    ]);
  });

  it('lets one of two concurrent moves win', async () => {
    const { id } = await placeOne(server);
    const both = await Promise.all(
      ['CANCELED', 'EXPIRED'].map((status) => amend(server, [{ id, status }], PER_ITEM)),
    );
    expect(both.flatMap(statusesOf).sort()).toEqual(['CONFLICT', 'UPDATED']);
  });

  it('takes two statements for a batch', async () => {
    const { results } = await place(
      server,
      many(100, () => orderItem()),
    );
    server.statements();
    const items = results.map((result) => ({ id: orderOf(result).id, status: 'OPEN' }));
    await server.data(AMEND, inputOf(items));
    expect(server.statements()).toEqual([
      'transaction.begin',
      'orders.lock',
      'orders.updateMany',
      'changes.append',
      'transaction.commit',
    ]);
  });
});
