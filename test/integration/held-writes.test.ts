import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Item, makeSymbol } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { fillItem, makeName, orderItem } from '../support/trading.ts';

/** Fields of one document work on the same rows, which are written once, when the unit ends. */

let server: TestServer;
let symbol: string;
let name: string;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

beforeEach(() => {
  symbol = makeSymbol();
  name = makeName();
});

const ORDER = 'order { id status quantity filledQuantity version }';
const POSITION = 'position { id status quantity stopLossPrice version }';

interface Result {
  readonly status: string;
  readonly error: { readonly code: string } | null;
  readonly order?: { readonly id: string; readonly status: string; readonly version: number };
  readonly position?: { readonly id: string; readonly status: string; readonly version: number };
}

type Fields = Readonly<Record<string, { readonly results: readonly Result[] }>>;

interface Field {
  readonly alias: string;
  readonly call: string;
  readonly input: Item;
  readonly selection: string;
}

const placing = (items: readonly Item[], alias = 'placed', account = 'main'): Field => ({
  alias,
  call: 'placeOrders',
  input: { account, mode: 'PER_ITEM', items },
  selection: ORDER,
});
const filling = (items: readonly Item[], alias = 'filled'): Field => ({
  alias,
  call: 'recordTrades',
  input: { account: 'main', mode: 'PER_ITEM', items },
  selection: `${ORDER} ${POSITION}`,
});
const moving = (item: Item, alias = 'moved'): Field => ({
  alias,
  call: 'updatePositions',
  input: { account: 'main', mode: 'PER_ITEM', items: [{ ...keyOf(), ...item }] },
  selection: POSITION,
});
const pricing = (price: string): Field => ({
  alias: `at${price}`,
  call: 'markPrices',
  input: { account: 'main', items: [{ exchange: 'bybit', symbol, price }] },
  selection: 'updated',
});
const amending = (item: Item): Field => ({
  alias: 'amended',
  call: 'updateOrders',
  input: { account: 'main', mode: 'PER_ITEM', items: [{ clientOrderId: name, ...item }] },
  selection: ORDER,
});

function keyOf(): Item {
  return { exchange: 'bybit', symbol, side: 'LONG' };
}

/** One document of these fields. */
async function run(fields: readonly Field[]) {
  const types = fields.map(({ call }, place) => {
    return `$i${place}: ${call.charAt(0).toUpperCase()}${call.slice(1)}Input!`;
  });
  const calls = fields.map(({ alias, call, selection }, place) => {
    const answer =
      call === 'markPrices' ? selection : `results { status error { code } ${selection} }`;
    return `${alias}: ${call}(input: $i${place}) { ${answer} }`;
  });
  const inputs = Object.fromEntries(fields.map(({ input }, place) => [`i${place}`, input]));
  return server.request<Fields>(`mutation Held(${types}) { ${calls.join(' ')} }`, inputs);
}

async function commit(fields: readonly Field[]): Promise<Fields> {
  const { data, errors } = await run(fields);
  if (!data) throw new Error(JSON.stringify(errors));
  return data;
}

const market = (changes: Item = {}) =>
  orderItem({
    clientOrderId: name,
    symbol,
    type: 'MARKET',
    price: null,
    quantity: '10',
    ...changes,
  });

/** The rows as they stand in the tables. */
async function stored() {
  const [order] = await server.sql`
    select status, trim_scale(filled_quantity)::text as filled, version from orders
    where client_order_id = ${name}`;
  const positions = await server.sql`
    select status, trim_scale(quantity)::text as quantity,
      trim_scale(stop_loss_price)::text as stop, version
    from positions where symbol = ${symbol} order by status`;
  return { order: order ?? null, positions: [...positions] };
}

/** What the log says of these entities, oldest first. */
async function logged() {
  const rows = await server.sql`
    select entity, operation, before ->> 'version' as before, after ->> 'version' as after
    from changes where operation_name = 'Held' and after ->> 'symbol' = ${symbol} order by seq`;
  return rows.map((row) => `${row.entity} ${row.operation} ${row.before} ${row.after}`);
}

describe('a document of several fields', () => {
  it('writes an order, its fill and the stops of its position in one statement', async () => {
    server.statements();
    const answer = await commit([
      placing([market()]),
      filling([fillItem(name, { quantity: '4' })]),
      moving({ stopLossPrice: '90' }),
    ]);
    expect(server.statements()).toEqual([
      'transaction.begin',
      'orders.findPlacingRules',
      'orders.findByClientOrderIds',
      'positions.lockInstruments',
      'positions.lockOpen',
      'marks.find',
      'units.write',
      'changes.append',
      'transaction.commit',
    ]);
    expect(answer.placed?.results[0]).toMatchObject({ status: 'CREATED', order: { version: 1 } });
    expect(answer.filled?.results[0]).toMatchObject({
      order: { status: 'PARTIALLY_FILLED', filledQuantity: '4', version: 2 },
      position: { version: 1, stopLossPrice: null },
    });
    expect(answer.moved?.results[0]).toMatchObject({
      status: 'UPDATED',
      position: { version: 2, stopLossPrice: '90' },
    });
    expect(await stored()).toEqual({
      order: { status: 'PARTIALLY_FILLED', filled: '4', version: 2 },
      positions: [{ status: 'OPEN', quantity: '4', stop: '90', version: 2 }],
    });
    expect(await logged()).toEqual([
      'order INSERT null 1',
      'order UPDATE 1 2',
      'position INSERT null 1',
      'trade INSERT null null',
      'position UPDATE 1 2',
    ]);
  });

  it('knows a fill of its first field in its third, and a clientOrderId in its second', async () => {
    const fill = fillItem(name, { quantity: '4' });
    const answer = await commit([
      placing([market()]),
      filling([fill]),
      placing([market()], 'again'),
      placing([market({ quantity: '11' })], 'other'),
      filling([fill, fillItem(name, { quantity: '6' })], 'more'),
    ]);
    expect(answer.again?.results[0]).toMatchObject({
      status: 'REPLAYED',
      order: { status: 'PARTIALLY_FILLED', version: 2 },
    });
    expect(answer.other?.results[0]).toMatchObject({
      status: 'CONFLICT',
      error: { code: 'CLIENT_ID_REUSED' },
    });
    expect(answer.more?.results.map(({ status }) => status)).toEqual(['REPLAYED', 'CREATED']);
    expect(await stored()).toEqual({
      order: { status: 'FILLED', filled: '10', version: 3 },
      positions: [{ status: 'OPEN', quantity: '10', stop: null, version: 2 }],
    });
  });

  it('moves rows that stand in the table twice, each version after the other', async () => {
    await commit([placing([market()]), filling([fillItem(name, { quantity: '1' })])]);
    const answer = await commit([
      filling([fillItem(name, { quantity: '2' })]),
      moving({ stopLossPrice: '80' }),
      filling([fillItem(name, { quantity: '3' })], 'second'),
      moving({ stopLossPrice: '81' }, 'movedAgain'),
    ]);
    expect(answer.movedAgain?.results[0]).toMatchObject({ status: 'UPDATED' });
    expect(await stored()).toEqual({
      order: { status: 'PARTIALLY_FILLED', filled: '6', version: 4 },
      positions: [{ status: 'OPEN', quantity: '6', stop: '81', version: 5 }],
    });
  });

  it('flips, and finds the position that it has opened instead', async () => {
    const sell = makeName();
    const answer = await commit([
      placing([market(), market({ clientOrderId: sell, side: 'SELL', quantity: '25' })]),
      filling([fillItem(name, { quantity: '10' })]),
      filling([fillItem(sell, { quantity: '15' })], 'flipped'),
      filling([fillItem(sell, { quantity: '10' })], 'added'),
      moving({ stopLossPrice: '1' }, 'long'),
      moving({ side: 'SHORT', stopLossPrice: '900' }, 'short'),
    ]);
    expect(answer.flipped?.results[0]).toMatchObject({ position: { status: 'CLOSED' } });
    expect(answer.long?.results[0]).toMatchObject({ status: 'NOT_FOUND' });
    expect(answer.short?.results[0]).toMatchObject({ status: 'UPDATED' });
    expect((await stored()).positions).toEqual([
      { status: 'CLOSED', quantity: '0', stop: null, version: 2 },
      { status: 'OPEN', quantity: '15', stop: '900', version: 3 },
    ]);
  });

  it('asks the state machine of the table for a second move of an order that it placed', async () => {
    const answer = await commit([
      placing([market()]),
      amending({ status: 'OPEN' }),
      filling([fillItem(name, { quantity: '10' })]),
      { ...amending({ status: 'OPEN' }), alias: 'reopened' },
    ]);
    expect(answer.amended?.results[0]).toMatchObject({ status: 'UPDATED' });
    expect(answer.reopened?.results[0]).toMatchObject({ status: 'CONFLICT' });
    expect((await stored()).order).toEqual({ status: 'FILLED', filled: '10', version: 3 });
  });

  it('shows a later field what an earlier one decided, through relations too', async () => {
    const fields = [placing([market()]), filling([fillItem(name, { quantity: '4' })])];
    const [first, second] = fields;
    if (!first || !second) throw new Error('two fields');
    const selection = 'order { status trades { quantity } } position { orders { clientOrderId } }';
    const answer = await commit([first, { ...second, selection }]);
    expect(answer.filled?.results[0]).toMatchObject({
      order: { status: 'PARTIALLY_FILLED', trades: [{ quantity: '4' }] },
      position: { orders: [{ clientOrderId: name }] },
    });
  });

  it('works on two accounts', async () => {
    const other = `a${makeName().toLowerCase()}`.replaceAll(/[^a-z0-9]/g, '');
    const made = await server.request(
      'mutation ($input: CreateAccountInput!) { createAccount(input: $input) { id } }',
      { input: { id: other, name: 'Other' } },
    );
    expect(made.errors).toEqual([]);
    const elsewhere = makeName();
    await commit([
      placing([market()]),
      placing([market({ clientOrderId: elsewhere })], 'elsewhere', other),
      filling([fillItem(name, { quantity: '10' })]),
    ]);
    expect((await stored()).order).toMatchObject({ status: 'FILLED', version: 2 });
    const [row] = await server.sql`
      select account_id, status from orders where client_order_id = ${elsewhere}`;
    expect(row).toEqual({ accountId: other, status: 'PENDING' });
  });

  it('stores nothing of what it holds when a later field is refused', async () => {
    const before = await server.inventory();
    const refused = filling([fillItem(makeName())]);
    const { errors } = await run([
      placing([market()]),
      filling([fillItem(name, { quantity: '4' })]),
      { ...refused, alias: 'refused', input: { ...refused.input, mode: 'ATOMIC' } },
    ]);
    expect(errors?.[0]?.extensions?.code).toBe('BATCH_REJECTED');
    expect(await server.inventory()).toEqual(before);
  });

  it('holds a stop against the mark that the same document has set', async () => {
    const answer = await commit([
      placing([market()]),
      filling([fillItem(name, { quantity: '4' })]),
      moving({ stopLossPrice: '90' }),
      pricing('85'),
      moving({ stopLossPrice: '80' }, 'lowered'),
      moving({ stopLossPrice: '88' }, 'above'),
    ]);
    expect(answer).toMatchObject({
      moved: { results: [{ status: 'UPDATED' }] },
      lowered: { results: [{ status: 'UPDATED' }] },
      above: { results: [{ status: 'REJECTED' }] },
    });
    expect((await stored()).positions).toMatchObject([{ stop: '80' }]);
  });

  it('reads a mark again once it has waited for another position', async () => {
    const [elsewhere, other] = [makeSymbol(), makeName()];
    await commit([
      placing([market(), market({ clientOrderId: other, symbol: elsewhere })]),
      filling([fillItem(name, { quantity: '4' }), fillItem(other, { quantity: '4' })]),
      pricing('100'),
    ]);
    const holder = server.connect();
    await holder`begin`;
    await holder`select 1 from positions where symbol = ${elsewhere} for update`;
    const running = commit([
      filling([fillItem(name, { quantity: '1' })]),
      moving({ symbol: elsewhere, leverage: '2' }, 'waits'),
      moving({ stopLossPrice: '90' }),
    ]);
    await server.untilBlocked(1);
    await holder`update marks set price = 85 where symbol = ${symbol}`;
    await holder`commit`;
    expect(await running).toMatchObject({
      waits: { results: [{ status: 'UPDATED' }] },
      moved: { results: [{ status: 'REJECTED' }] },
    });
  });

  it('takes a name once when two send it at the same time', async () => {
    const fields = () => [placing([market()]), filling([fillItem(name, { quantity: '4' })])];
    const same = fields();
    const answers = await Promise.all(Array.from({ length: 8 }, () => commit(same)));
    const statuses = answers.map(({ placed }) => placed?.results[0]?.status).sort();
    expect(statuses).toEqual(['CREATED', ...Array.from({ length: 7 }, () => 'REPLAYED')]);
    expect(await stored()).toEqual({
      order: { status: 'PARTIALLY_FILLED', filled: '4', version: 2 },
      positions: [{ status: 'OPEN', quantity: '4', stop: null, version: 1 }],
    });
  });
});
