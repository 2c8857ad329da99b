import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { type Followed, follow } from '../../examples/follow.ts';
import { type CuttableClient, createCuttableClient } from '../support/cuttable.ts';
import { eventually } from '../support/eventually.ts';
import { SEED } from '../support/seed.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { makeAccount } from '../support/trading.ts';

let server: TestServer;
const undo: (() => unknown)[] = [];

beforeAll(async () => {
  server = await startTestServer();
});

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

afterAll(() => server.stop());

const SYMBOLS = ['AUSDT', 'BUSDT', 'CUSDT', 'DUSDT'];
const RUNS = 12;

type Step =
  | { readonly kind: 'mark'; readonly prices: readonly (readonly [number, number])[] }
  | { readonly kind: 'open' | 'update' | 'close'; readonly symbol: number; readonly value: number }
  | { readonly kind: 'cut'; readonly client: number };

const symbol = fc.nat({ max: SYMBOLS.length - 1 });
const value = fc.integer({ min: 2, max: 999 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('mark' as const),
      prices: fc.uniqueArray(fc.tuple(symbol, value), {
        minLength: 1,
        maxLength: SYMBOLS.length,
        selector: ([place]) => place,
      }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'open' as const,
        'update' as const,
        'update' as const,
        'close' as const,
      ),
      symbol,
      value,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('cut' as const), client: fc.nat({ max: 1 }) }),
  },
);
/** Those of one list are carried out at the same time. */
const plan = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), {
  minLength: 4,
  maxLength: 12,
});

interface Row {
  readonly id: string;
}

const ROW = 'id symbol side quantity stopLossPrice version';
const MARKED = `${ROW} markPrice unrealizedPnl`;
const OPEN_ONES = '{ status: [OPEN] }';

const DOCUMENTS = {
  mark: 'mutation ($input: MarkPricesInput!) { markPrices(input: $input) { updated } }',
  open: 'mutation ($input: OpenPositionsInput!) { openPositions(input: $input) { counts { created } } }',
  update:
    'mutation ($input: UpdatePositionsInput!) { updatePositions(input: $input) { counts { updated } } }',
  close:
    'mutation ($input: ClosePositionsInput!) { closePositions(input: $input) { counts { updated } } }',
};

function itemsOf(planned: Exclude<Step, { readonly kind: 'cut' }>): readonly object[] {
  const exchange = 'bybit';
  if (planned.kind === 'mark') {
    return planned.prices.map(([place, price]) => ({
      exchange,
      symbol: SYMBOLS[place],
      price: `${price}.5`,
    }));
  }
  const item = { exchange, symbol: SYMBOLS[planned.symbol], side: 'LONG' };
  const number = `${planned.value}`;
  switch (planned.kind) {
    case 'open':
      return [{ ...item, quantity: number, entryPrice: '1000' }];
    case 'update':
      return [{ ...item, leverage: number }];
    case 'close':
      return [{ ...item, price: number }];
  }
}

async function carryOut(planned: Step, account: string, clients: readonly CuttableClient[]) {
  if (planned.kind === 'cut') {
    clients[planned.client]?.cut();
    return;
  }
  // What the state does not allow is refused, which is a unit that rolls back.
  await server.request(DOCUMENTS[planned.kind], { input: { account, items: itemsOf(planned) } });
}

async function stored(account: string, fields: string): Promise<readonly Row[]> {
  const query = `query ($account: ID!) {
    positions(account: $account, where: ${OPEN_ONES}, first: 500) { nodes { ${fields} } } }`;
  type Data = { readonly positions: { readonly nodes: readonly Row[] } };
  return byId((await server.data<Data>(query, { account })).positions.nodes);
}

const byId = (rows: Iterable<Row>) => [...rows].sort((one, other) => (one.id < other.id ? -1 : 1));

async function run(steps: readonly (readonly Step[])[]): Promise<void> {
  const account = await makeAccount(server);
  const options = {
    url: `${server.url.replace('http', 'ws')}/graphql`,
    connectionParams: { authorization: `Bearer ${server.key}` },
  };
  const clients = [createCuttableClient(options), createCuttableClient(options)];
  const followed = clients.flatMap(({ client }): readonly [string, Followed<Row>][] => {
    undo.push(() => client.dispose());
    const common = { field: 'positionChanges', account, where: OPEN_ONES } as const;
    return [
      [MARKED, follow<Row>(client, { ...common, fields: MARKED })],
      [ROW, follow<Row>(client, { ...common, fields: ROW, marks: false })],
    ];
  });
  for (const [, one] of followed) undo.push(() => one.stop());
  for (const batch of steps) {
    await Promise.all(batch.map((planned) => carryOut(planned, account, clients)));
  }
  for (const [fields, { rows, counts }] of followed) {
    await eventually(async () =>
      expect(byId(rows.values())).toEqual(await stored(account, fields)),
    );
    expect(counts).toMatchObject({ gaps: 0, resets: 0 });
  }
  for (const undone of undo.splice(0).reverse()) await undone();
}

it(`what is followed is what is stored, whatever marks and changes come between, seed ${SEED}`, async () => {
  await fc.assert(fc.asyncProperty(plan, run), { seed: SEED, numRuns: RUNS });
});
