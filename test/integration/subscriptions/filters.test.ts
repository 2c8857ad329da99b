import fc from 'fast-check';
import { expect, it } from 'vitest';
import { close, open, predict } from '../../support/documents.ts';
import { type LiveEvent, useLive } from '../../support/live.ts';
import { openItem, predictionItem } from '../../support/make.ts';
import { SEED } from '../../support/seed.ts';
import { amend, EXECUTED_AT, fillItem, orderItem, place, record } from '../../support/trading.ts';

const live = useLive();

// What passes a filter is decided in memory for an event and by the database for a page.

const RUNS = 30;
const EXCHANGES = ['bybit', 'okx'];
const SYMBOLS = ['AUSDT', 'BUSDT', 'CUSDT'];
const STRATEGIES = ['first', 'second', null];

interface Row {
  readonly id: string;
  readonly at: string;
}

interface Kind {
  readonly name: string;
  readonly page: string;
  readonly where: string;
  /** Of a row as an event and as a page have it; `at` is what its range is about. */
  readonly fields: string;
  readonly row: string;
  /** Other arguments of the stream. */
  readonly others?: string;
  write(own: { readonly account: string }): Promise<unknown>;
  filters(rows: readonly Row[]): Readonly<Record<string, fc.Arbitrary<unknown>>>;
}

const oneOf = (...values: readonly unknown[]) => fc.constantFrom(...values, '', 'none', null);
const someOf = (...values: readonly unknown[]) => fc.option(fc.subarray([...values]), { freq: 6 });
const symbols = someOf(...SYMBOLS, 'none');
const exchange = oneOf(...EXCHANGES);
const strategy = oneOf('first', 'second');
const idsOf = (rows: readonly Row[]) => someOf(...rows.map(({ id }) => id));

/** Its ends are often those of a row. */
function rangeOf(rows: readonly Row[]): fc.Arbitrary<unknown> {
  const end = fc.option(fc.constantFrom(...rows.map(({ at }) => at)));
  return fc.record({ from: end, to: end }, { requiredKeys: [] });
}

/** More would let nothing through. */
function oneOrTwoOf(
  conditions: Readonly<Record<string, fc.Arbitrary<unknown>>>,
): fc.Arbitrary<object> {
  return fc
    .subarray(Object.entries(conditions), { minLength: 1, maxLength: 2 })
    .chain((chosen) => fc.record(Object.fromEntries(chosen)));
}

const pick = <Value>(values: readonly Value[], index: number) => values[index % values.length];

const common = (index: number) => ({
  exchange: pick(EXCHANGES, index),
  symbol: pick(SYMBOLS, index),
  strategy: pick(STRATEGIES, Math.floor(index / 3)),
});

function orderItems(count: number) {
  return Array.from({ length: count }, (_none, index) =>
    orderItem({ ...common(index), side: pick(['BUY', 'BUY', 'SELL'], index) }),
  );
}

const KINDS: readonly Kind[] = [
  {
    name: 'orderChanges',
    page: 'orders',
    where: 'OrderWhere',
    row: 'order',
    fields: 'id at: createdAt',
    async write(own) {
      await place(live.server, orderItems(3), own);
      const { results } = await place(live.server, orderItems(6), own);
      const statuses = ['OPEN', 'CANCELED', 'REJECTED'];
      const items = results.slice(0, 3).map(({ order }, index) => ({
        id: order?.id,
        status: statuses[index],
      }));
      await amend(live.server, items, own);
    },
    filters: (rows) => ({
      ids: idsOf(rows),
      exchange,
      symbols,
      status: someOf('PENDING', 'OPEN', 'CANCELED', 'REJECTED', 'FILLED'),
      side: fc.constantFrom('BUY', 'SELL', null),
      strategy,
      createdAt: rangeOf(rows),
    }),
  },
  {
    name: 'positionChanges',
    page: 'positions',
    where: 'PositionWhere',
    row: 'position',
    fields: 'id at: openedAt',
    others: ', marks: false',
    async write(own) {
      for (const [round, side] of ['LONG', 'SHORT', 'SHORT'].entries()) {
        const items = SYMBOLS.map((_symbol, index) => openItem({ ...common(index), side }));
        const { results } = await open(live.server, items, own);
        const closed = round < 2 ? results : results.slice(1);
        await close(
          live.server,
          closed.map(({ position }) => ({ id: position?.id, price: '101' })),
          own,
        );
      }
    },
    filters: (rows) => ({
      ids: idsOf(rows),
      exchange,
      symbols,
      status: someOf('OPEN', 'CLOSED', 'LIQUIDATED'),
      side: fc.constantFrom('LONG', 'SHORT', null),
      strategy,
      openedAt: rangeOf(rows),
    }),
  },
  {
    name: 'tradeExecutions',
    page: 'trades',
    where: 'TradeWhere',
    row: 'trade',
    fields: 'id at: executedAt',
    async write(own) {
      const items = orderItems(9);
      await place(live.server, items, own);
      const fills = items.map(({ clientOrderId }, index) =>
        fillItem(`${clientOrderId}`, { executedAt: EXECUTED_AT.replace('00Z', `0${index}Z`) }),
      );
      await record(live.server, fills, own);
    },
    filters: (rows) => ({
      exchange,
      symbols,
      side: fc.constantFrom('BUY', 'SELL', null),
      strategy,
      executedAt: rangeOf(rows),
    }),
  },
  {
    name: 'predictionsLogged',
    page: 'predictions',
    where: 'PredictionWhere',
    row: 'predictions',
    fields: 'id at: predictedAt',
    async write(own) {
      for (const modelVersion of ['one', 'two']) {
        const items = Array.from({ length: 6 }, (_none, index) => {
          const { strategy: _not, ...instrument } = common(index);
          return predictionItem({
            ...instrument,
            modelVersion,
            interval: pick(['15m', '1h'], index),
            signal: pick(['LONG', 'SHORT', 'NEUTRAL'], index),
            signalConfidence: index / 5,
            predictedAt: `2026-01-15T12:00:00.00000${index}Z`,
          });
        });
        await predict(live.server, items, own);
      }
    },
    filters: (rows) => ({
      exchange,
      symbols,
      interval: oneOf('15m', '1h'),
      modelVersions: someOf('one', 'two', 'none'),
      signal: someOf('LONG', 'SHORT', 'NEUTRAL'),
      minConfidence: fc.constantFrom(0, 0.2, 0.4000001, 0.8, 1, null),
      resolved: fc.constantFrom(true, false, null),
      predictedAt: rangeOf(rows),
    }),
  },
  {
    name: 'changes',
    page: 'changes',
    where: 'ChangeWhere',
    row: 'change',
    fields: 'id: seq at',
    async write(own) {
      const items = orderItems(4);
      await place(live.server, items, own);
      await record(
        live.server,
        items.slice(2).map(({ clientOrderId }) => fillItem(`${clientOrderId}`)),
        own,
      );
      await predict(live.server, [predictionItem(), predictionItem()], own);
    },
    filters: (rows) => ({
      entities: someOf('order', 'trade', 'position', 'prediction', 'none'),
      actor: oneOf('none'),
      operations: someOf('INSERT', 'UPDATE', 'DELETE', 'MARK'),
      at: rangeOf(rows),
    }),
  },
];

async function listed(kind: Kind, where: object): Promise<readonly Row[]> {
  const query = `query ($account: ID!, $where: ${kind.where}) {
    page: ${kind.page}(account: $account, where: $where, first: 500) { nodes { ${kind.fields} } } }`;
  type Data = { readonly page: { readonly nodes: readonly Row[] } };
  return (await live.server.data<Data>(query, { account: live.account, where })).page.nodes;
}

/** The ids that a client has in the end which follows from the beginning. */
async function followed(kind: Kind, where: object, after: string): Promise<ReadonlySet<string>> {
  const query = `subscription ($account: ID!, $where: ${kind.where}, $after: String) {
    event: ${kind.name}(account: $account, where: $where, after: $after${kind.others ?? ''}) {
      kind cursor seq previousSeq row: ${kind.row} { ${kind.fields} } } }`;
  const stream = await live.open(query, { where, after });
  const ids = new Set<string>();
  for (;;) {
    const event = await stream.next();
    if (event.kind === 'CAUGHT_UP') break;
    for (const { id } of rowsOf(event)) {
      if (event.kind === 'LEFT') ids.delete(id);
      else ids.add(id);
    }
  }
  stream.close();
  return ids;
}

function rowsOf({ row }: LiveEvent): readonly Row[] {
  return [row].flat() as readonly Row[];
}

it.each(KINDS)(`$name passes what the page passes, seed ${SEED}`, async (kind) => {
  const query = `subscription ($account: ID!) {
    event: ${kind.name}(account: $account) { kind cursor seq previousSeq } }`;
  const [, begun] = await live.begin(query);
  await kind.write({ account: live.account });
  const rows = await listed(kind, {});
  expect(rows.length).toBeGreaterThan(5);
  let passed = 0;
  const filter = oneOrTwoOf(kind.filters(rows));
  const agrees = fc.asyncProperty(filter, async (where) => {
    const expected = new Set((await listed(kind, where)).map(({ id }) => id));
    passed += expected.size;
    expect(await followed(kind, where, begun.cursor)).toEqual(expected);
  });
  await fc.assert(agrees, { seed: SEED, numRuns: RUNS });
  expect(passed).toBeGreaterThan(0);
});
