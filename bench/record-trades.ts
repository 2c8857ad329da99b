import { createOrderRepository, type Order } from '../datasources/order.ts';
import { writeAtOnce } from '../datasources/held-writes.ts';
import { createPositionRepository, type Position } from '../datasources/position.ts';
import { createTradeRepository } from '../datasources/trade.ts';
import type { Ledger } from '../resolvers/ledger.ts';
import { makeBody } from './client.ts';
import { createCapture, runStatement, toChangeRow } from './driver-statement.ts';
import { AT, type BenchFill, foldFills, ITEM_HASH, placedOrder } from './fills.ts';
import { type Contender, type Job, race } from './race.ts';
import type { Bench, Result } from './table.ts';
import { withWorld, type World } from './world.ts';

/**
 * `recordTrades` over HTTP, 100 fills a request, ATOMIC, each of an order and a position of its own,
 * against what writes the same by the driver in this process: BEGIN, the statements of the product
 * (100 orders, 100 positions and 100 trades from json, one after the other: in one statement, as the
 * product sends them, they take as long), one INSERT of the 300 change rows with the documents before
 * and after, COMMIT. The driver neither reads nor locks, folds nothing, knows no fill again, makes no
 * hash chain, and its rows and their JSON are made before the clock runs. Each connection has orders
 * and positions of its own, which the first batch opens and all others add to.
 */
const RECORD = `
  mutation BenchRecord($input: RecordTradesInput!) {
    recordTrades(input: $input) {
      counts { created } results { index status trade { id realizedPnl } position { id quantity } }
    }
  }`;

const PLACE = `
  mutation BenchPlace($input: PlaceOrdersInput!) {
    placeOrders(input: $input) { counts { created } }
  }`;

const FILLS = 100;
const ACCEPT = 0.5;

export async function recordTradesLines(bench: Bench): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const connections of [1, 4]) {
    const result = await withWorld(bench, `fills_${connections}`, (world) =>
      measure(world, connections, bench.isQuick),
    );
    results.push(result);
  }
  return results;
}

async function measure(world: World, connections: number, isQuick: boolean): Promise<Result> {
  const size = { connections, batches: isQuick ? 2 : 20 };
  const { product, limit, ratio } = await race(
    await createProduct(world, size),
    await createLimit(world, size),
    isQuick ? 1 : 7,
  );
  const rate = (jobs: number) => `${Math.round(jobs * FILLS).toLocaleString('en')} fills/s`;
  return {
    line: `recordTrades, ${FILLS} a request, ${connections} connection${connections > 1 ? 's' : ''}`,
    figure: rate(product),
    limit: rate(limit),
    ratio,
    bound: { kind: 'at least', value: ACCEPT },
  };
}

interface Size {
  readonly connections: number;
  /** Of a round, on each connection. */
  readonly batches: number;
}

function ordersOf(connection: number) {
  return Array.from({ length: FILLS }, (_none, place) => ({
    clientOrderId: nameOf(connection, place),
    symbol: `B${connection}X${place}USDT`,
    type: 'MARKET' as const,
    quantity: '1000000',
  }));
}

function nameOf(connection: number, place: number): string {
  return `bench-${connection}-${place}`;
}

/** The fills of a batch: at other prices in each, so that averages have to be made. */
function fillsOf(connection: number, batch: number): readonly BenchFill[] {
  return Array.from({ length: FILLS }, (_none, place) => ({
    clientOrderId: nameOf(connection, place),
    exchangeTradeId: `${batch}-${place}`,
    price: `${64_000 + ((batch * 7 + place) % 500)}.25`,
    quantity: '0.125',
    commission: '0.04',
    commissionAsset: 'USDT',
    executedAt: AT,
  }));
}

async function createProduct({ client, analyze }: World, size: Size): Promise<Contender> {
  for (let connection = 0; connection < size.connections; connection += 1) {
    const items = ordersOf(connection).map((order) => ({
      ...order,
      exchange: 'bybit',
      side: 'BUY',
      strategy: 'bench',
    }));
    await client.query(PLACE, { input: { account: 'main', items } });
  }
  return {
    async prepare(round) {
      await analyze();
      return Array.from({ length: size.connections }, (_none, connection) =>
        Array.from({ length: size.batches }, (_nothing, batch): Job => {
          const items = fillsOf(connection, round * size.batches + batch);
          const body = makeBody(RECORD, { input: { account: 'main', items } });
          return async () => {
            const answer = await client.post(body);
            if (!answer.includes(`"created":${FILLS}`)) throw new Error(answer.slice(0, 500));
          };
        }),
      );
    },
  };
}

/** The rows of one connection, as the last batch left them. */
interface Held {
  orders: readonly Order[];
  positions: readonly Position[];
}

async function createLimit(world: World, size: Size): Promise<Contender> {
  const connections: { readonly driver: ReturnType<World['openDriver']>; readonly held: Held }[] =
    [];
  for (let connection = 0; connection < size.connections; connection += 1) {
    const driver = world.openDriver();
    const orders = ordersOf(connection).map((order) => placedOrder({ ...order, price: null }));
    const capture = createCapture(FILLS);
    const repository = createOrderRepository(writeAtOnce(capture.sql), capture.recorder);
    await repository.insertMany(
      'main',
      orders.map((order) => ({ ...order, itemHash: ITEM_HASH })),
    );
    for (const statement of capture.statements) await runStatement(driver, statement);
    const held: Held = { orders, positions: [] };
    connections.push({ driver, held });
  }
  let seq = 0;
  return {
    async prepare(round) {
      const lists: Job[][] = [];
      for (const [connection, { driver, held }] of connections.entries()) {
        const jobs: Job[] = [];
        for (let batch = 0; batch < size.batches; batch += 1) {
          const fills = fillsOf(connection, round * size.batches + batch);
          const ledger = foldFills(held.orders, held.positions, fills);
          held.orders = held.orders.map((order) => ledger.orderOf(order));
          const { opened, moved } = ledger.rows();
          held.positions = [...opened, ...moved.map(({ next }) => next)];
          const { statements, changes } = await toStatements(ledger);
          const rows = changes.map((change) => toChangeRow(change, ++seq, 'BenchRecord'));
          const text = JSON.stringify(rows);
          jobs.push(async () => {
            await driver.begin(async (transaction) => {
              for (const statement of statements) await runStatement(transaction, statement);
              await transaction`
                insert into changes select * from json_populate_recordset(
                  null::changes, ${text}::text::json)`;
            });
          });
        }
        lists.push(jobs);
      }
      await world.analyze();
      return lists;
    },
  };
}

async function toStatements(ledger: Ledger) {
  const { orders, moved, opened, trades } = ledger.rows();
  const capture = createCapture(FILLS);
  await createOrderRepository(writeAtOnce(capture.sql), capture.recorder).updateMany(
    'main',
    orders,
  );
  const positions = createPositionRepository(writeAtOnce(capture.sql), capture.recorder);
  if (moved.length > 0) await positions.updateMany('main', moved);
  if (opened.length > 0) await positions.insertMany('main', opened);
  await createTradeRepository(writeAtOnce(capture.sql), capture.recorder).insertMany(
    'main',
    trades,
  );
  return capture;
}
