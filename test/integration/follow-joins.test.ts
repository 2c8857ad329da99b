import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Followed, follow } from '../../examples/follow.ts';
import { close, open, update } from '../support/documents.ts';
import { createCuttableClient } from '../support/cuttable.ts';
import { eventually } from '../support/eventually.ts';
import { many, openItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { amend, fillItem, makeAccount, orderItem, place, record } from '../support/trading.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const JOINS = 50;
const WRITERS = 4;
const ROUNDS = 14;

interface Row {
  readonly id: string;
}

const KINDS = {
  positionChanges: {
    page: 'positions',
    where: '{ status: [OPEN] }',
    fields: 'id symbol quantity entryPrice stopLossPrice fees version markPrice unrealizedPnl',
  },
  orderChanges: {
    page: 'orders',
    where: '{ status: [PENDING, OPEN, PARTIALLY_FILLED] }',
    fields: 'id symbol status filledQuantity averagePrice version',
  },
} as const;

type Field = keyof typeof KINDS;

const byId = (rows: Iterable<Row>) => [...rows].sort((one, other) => (one.id < other.id ? -1 : 1));

async function stored(account: string, field: Field): Promise<readonly Row[]> {
  const { page, where, fields } = KINDS[field];
  const query = `query ($account: ID!) {
    rows: ${page}(account: $account, where: ${where}, first: 500) { nodes { ${fields} } } }`;
  type Data = { readonly rows: { readonly nodes: readonly Row[] } };
  return byId((await server.data<Data>(query, { account })).rows.nodes);
}

/** Orders that are filled, changed and canceled; positions that come, change, are marked and go. */
async function write(account: string, onRound: () => void): Promise<void> {
  const own = { account };
  for (let round = 0; round < ROUNDS; round += 1) {
    const { results } = await place(
      server,
      many(3, () => orderItem()),
      own,
    );
    const [filled, canceled] = results.map(({ order }) => order);
    await record(server, [fillItem(filled?.clientOrderId ?? '')], own);
    await amend(server, [{ id: canceled?.id, status: 'CANCELED' }], own);
    const opened = await open(
      server,
      many(2, () => openItem()),
      own,
    );
    const [kept, closed] = opened.results.map(({ position }) => position);
    const input = { account, items: [{ exchange: 'bybit', symbol: kept?.symbol, price: '101.5' }] };
    await server.data(
      'mutation ($input: MarkPricesInput!) { markPrices(input: $input) { updated } }',
      { input },
    );
    await update(server, [{ id: kept?.id, stopLossPrice: '90' }], own);
    await close(server, [{ id: closed?.id, price: '101' }], own);
    onRound();
  }
}

it(`is exact for each of ${JOINS} who join while others write`, async () => {
  const account = await makeAccount(server);
  const options = {
    url: `${server.url.replace('http', 'ws')}/graphql`,
    connectionParams: { authorization: `Bearer ${server.key}` },
  };
  const clients = Array.from({ length: 5 }, () => createCuttableClient(options).client);
  const joined: [Field, Followed<Row>][] = [];
  const join = () => {
    if (joined.length === JOINS) return;
    const field = joined.length % 2 === 0 ? 'positionChanges' : 'orderChanges';
    const client = clients[joined.length % clients.length];
    if (client === undefined) throw new Error('there are five');
    const { where, fields } = KINDS[field];
    joined.push([field, follow<Row>(client, { field, account, where, fields })]);
  };
  await Promise.all(Array.from({ length: WRITERS }, () => write(account, join)));
  expect(joined).toHaveLength(JOINS);
  for (const [field, { rows, counts }] of joined) {
    const expected = await stored(account, field);
    expect(expected.length).toBeGreaterThan(0);
    await eventually(async () => expect(byId(rows.values())).toEqual(expected));
    expect(counts).toMatchObject({ gaps: 0, resets: 0, resumes: 0 });
  }
  for (const [, one] of joined) one.stop();
  await Promise.all(clients.map((client) => client.dispose()));
});
