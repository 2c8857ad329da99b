import { expect, it } from 'vitest';
import { openOne, update } from '../../support/documents.ts';
import { briefOf, POSITIONS, useLive } from '../../support/live.ts';
import { openItem } from '../../support/make.ts';

const live = useLive();

const EXCHANGES = 5;
const SYMBOLS = 50;
const POSITIONS_OPEN = EXCHANGES * SYMBOLS * 2;
const SUBSCRIBERS = 20;

interface Price {
  readonly exchange: string;
  readonly symbol: string;
  readonly price: string;
}

async function mark(items: readonly Price[]): Promise<void> {
  const input = { account: live.account, items };
  await live.server.data(
    'mutation ($input: MarkPricesInput!) { markPrices(input: $input) { updated } }',
    { input },
  );
}

/** Positions that the log knows nothing of, of each exchange, symbol and side. */
async function openMany(): Promise<void> {
  await live.server.sql`
    insert into positions (account_id, id, exchange, symbol, side, status, quantity, entry_price,
      opened_at, updated_at)
    select ${live.account}, gen_random_uuid(), 'exchange' || e, 'SYMBOL' || s, side, 'OPEN', 1, 100,
      now(), now()
    from generate_series(1, ${EXCHANGES}::int) as e, generate_series(1, ${SYMBOLS}::int) as s,
      unnest(array['LONG', 'SHORT']) as side`;
}

function pricesOf(price: string): readonly Price[] {
  return Array.from({ length: EXCHANGES * SYMBOLS }, (_none, index) => ({
    exchange: `exchange${1 + (index % EXCHANGES)}`,
    symbol: `SYMBOL${1 + Math.floor(index / EXCHANGES)}`,
    price,
  }));
}

it('shows the mark of the event and what it is worth at that, to the last digit', async () => {
  const item = openItem({ quantity: '3', entryPrice: '100.000000000000000001', side: 'SHORT' });
  const { id, exchange, symbol } = await openOne(live.server, item, { account: live.account });
  const [stream, begun] = await live.begin(POSITIONS);
  await mark([{ exchange, symbol, price: '100' }]);
  const marked = await stream.next();
  expect(briefOf(marked)).toEqual({
    kind: 'CHANGE',
    seq: Number(begun.seq) + 1,
    previousSeq: Number(begun.seq),
  });
  expect(marked).toMatchObject({
    operation: 'MARK',
    before: null,
    position: { id, version: 1, markPrice: '100', unrealizedPnl: '0.000000000000000003' },
  });
  await mark([{ exchange, symbol, price: '90' }]);
  await stream.next();
  await update(live.server, [{ id, stopLossPrice: '110' }], { account: live.account });
  expect(await stream.next()).toMatchObject({
    operation: 'UPDATE',
    position: { version: 2, markPrice: '90', unrealizedPnl: '30.000000000000000003' },
  });
});

it('shows in a snapshot what each position is worth, with one statement for all marks', async () => {
  await openMany();
  await mark(pricesOf('101'));
  live.server.statements();
  const stream = await live.open(POSITIONS, { snapshot: true });
  const rows = await stream.take(POSITIONS_OPEN);
  expect((await stream.next()).kind).toBe('CAUGHT_UP');
  for (const { position } of rows) {
    const { side } = position as { readonly side: string };
    expect(position).toMatchObject({
      markPrice: '101',
      unrealizedPnl: side === 'LONG' ? '1' : '-1',
    });
  }
  const names = live.server.statements();
  expect(names.filter((name) => name.startsWith('marks.'))).toEqual(['marks.find']);
});

it('reads the positions of a change of marks once, for all subscribers of a node', async () => {
  await openMany();
  const streams = await Promise.all(
    Array.from({ length: SUBSCRIBERS }, () => live.begin(POSITIONS)),
  );
  live.server.statements();
  await mark(pricesOf('102'));
  for (const [stream] of streams) {
    const events = await stream.take(POSITIONS_OPEN);
    const prices = new Set(
      events.map(({ position }) => (position as Price & { markPrice: string }).markPrice),
    );
    expect(prices).toEqual(new Set(['102']));
  }
  const names = live.server.statements();
  expect(names.toSorted()).toEqual([
    'changes.append',
    'marks.readMarked',
    'marks.triggerStops',
    'marks.upsertMany',
    'transaction.begin',
    'transaction.commit',
  ]);
});

it('tells the same to who comes back within a burst as to who stayed', async () => {
  const { exchange, symbol } = await openOne(live.server, openItem(), { account: live.account });
  await openOne(live.server, openItem({ exchange }), { account: live.account });
  const [, begun] = await live.begin(POSITIONS);
  for (const price of ['101', '102', '103']) await mark([{ exchange, symbol, price }]);
  const resumed = await live.open(POSITIONS, { after: begun.cursor });
  const [newest, end] = await resumed.take(2);
  expect(newest).toMatchObject({
    seq: String(Number(begun.seq) + 3),
    previousSeq: begun.seq,
    position: { markPrice: '103' },
  });
  expect(end).toMatchObject({ kind: 'CAUGHT_UP', previousSeq: newest?.seq });
});
