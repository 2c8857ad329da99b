import type postgres from 'postgres';
import type { NewChange } from '../datasources/change-recorder.ts';
import { createOrderRepository } from '../datasources/order.ts';
import { writeAtOnce } from '../datasources/held-writes.ts';
import { makeBody } from './client.ts';
import { createCapture, toChangeRow } from './driver-statement.ts';
import { AT, foldFills, ITEM_HASH, placedOrder } from './fills.ts';
import { type Contender, type Job, race } from './race.ts';
import type { Bench, Result } from './table.ts';
import { withWorld, type World } from './world.ts';

/**
 * An order, its fill and the stops of the position that it opens, in one document over HTTP, one
 * item a field, 8 connections, against the transaction that one would write by hand for it, by the
 * driver in this process: BEGIN, INSERT of the order, its UPDATE to FILLED, INSERT of the position,
 * INSERT of the trade, UPDATE of the stops, one INSERT of the five change rows with the documents
 * before and after, COMMIT. The statements between are sent without waiting for each other's
 * answers. The driver reads, locks and checks nothing, makes no hash chain, and its documents and
 * JSON are made before the clock runs.
 */
const ONE_DOCUMENT = `
  mutation BenchDocument(
    $orders: PlaceOrdersInput!, $trades: RecordTradesInput!, $positions: UpdatePositionsInput!
  ) {
    placeOrders(input: $orders) { results { status order { id } } }
    recordTrades(input: $trades) { results { status trade { id } } }
    updatePositions(input: $positions) { results { status position { id version } } }
  }`;

const CONNECTIONS = 8;
const ACCEPT = 0.4;
const PRICE = '64000.25';
const QUANTITY = '0.125';
const COMMISSION = '0.04';
const STOPS = { stopLossPrice: '63000.5', takeProfitPrice: '66000.5' };

export async function oneDocumentLines(bench: Bench): Promise<readonly Result[]> {
  return [await withWorld(bench, 'one_document', (world) => measure(world, bench.isQuick))];
}

async function measure(world: World, isQuick: boolean): Promise<Result> {
  const jobs = isQuick ? 10 : 150;
  const { product, limit, ratio } = await race(
    createProduct(world, jobs),
    createLimit(world, jobs),
    isQuick ? 1 : 7,
  );
  const rate = (perSecond: number) => `${Math.round(perSecond).toLocaleString('en')} units/s`;
  return {
    line: `order, trade and position in one document, ${CONNECTIONS} connections`,
    figure: rate(product),
    limit: rate(limit),
    ratio,
    bound: { kind: 'at least', value: ACCEPT },
  };
}

function orderOf(made: number) {
  return {
    clientOrderId: `bench-${made}`,
    symbol: `B${made}USDT`,
    type: 'LIMIT' as const,
    price: '64000.5',
    quantity: QUANTITY,
  };
}

function fillOf(made: number) {
  return {
    clientOrderId: `bench-${made}`,
    exchangeTradeId: '1',
    price: PRICE,
    quantity: QUANTITY,
    commission: COMMISSION,
    commissionAsset: 'USDT',
    executedAt: AT,
  };
}

/** The jobs of a round, by connection; each is of an instrument of its own. */
async function jobLists(
  jobs: number,
  round: number,
  job: (connection: number, made: number) => Promise<Job>,
): Promise<Job[][]> {
  const lists: Job[][] = [];
  for (let connection = 0; connection < CONNECTIONS; connection += 1) {
    const list: Job[] = [];
    for (let place = 0; place < jobs; place += 1) {
      list.push(await job(connection, (round * CONNECTIONS + connection) * jobs + place));
    }
    lists.push(list);
  }
  return lists;
}

function createProduct({ client, analyze }: World, jobs: number): Contender {
  async function job(_connection: number, made: number): Promise<Job> {
    const order = { ...orderOf(made), exchange: 'bybit', side: 'BUY', strategy: 'bench' };
    const { symbol } = order;
    const body = makeBody(ONE_DOCUMENT, {
      orders: { account: 'main', items: [order] },
      trades: { account: 'main', items: [fillOf(made)] },
      positions: {
        account: 'main',
        items: [{ exchange: 'bybit', symbol, side: 'LONG', ...STOPS }],
      },
    });
    return async () => {
      const answer = await client.post(body);
      if (answer.split('"CREATED"').length !== 3 || !answer.includes('"UPDATED"')) {
        throw new Error(answer.slice(0, 500));
      }
    };
  }
  return {
    async prepare(round) {
      await analyze();
      return jobLists(jobs, round, job);
    },
  };
}

function createLimit({ openDriver, analyze }: World, jobs: number): Contender {
  const drivers = Array.from({ length: CONNECTIONS }, openDriver);
  let seq = 0;
  async function job(connection: number, made: number): Promise<Job> {
    const driver = drivers[connection];
    if (driver === undefined) throw new Error('no driver for a connection');
    const { rows, changes } = await unitOf(made);
    const text = JSON.stringify(changes.map((one) => toChangeRow(one, ++seq, 'BenchDocument')));
    return () => writeByHand(driver, rows, text);
  }
  return {
    async prepare(round) {
      const lists = await jobLists(jobs, round, job);
      await analyze();
      return lists;
    },
  };
}

/** The rows that the product makes of a unit, and what it tells the log of them. */
async function unitOf(made: number) {
  const capture = createCapture(1);
  const order = placedOrder(orderOf(made));
  const orders = createOrderRepository(writeAtOnce(capture.sql), capture.recorder);
  await orders.insertMany('main', [{ ...order, itemHash: ITEM_HASH }]);
  const ledger = foldFills([order], [], [fillOf(made)]);
  const filled = ledger.rows();
  const [trade] = filled.trades;
  const [opened] = filled.opened;
  if (trade === undefined || opened === undefined) throw new Error('the fill opened nothing');
  const { clientId: _clientId, itemHash: _itemHash, ...position } = opened;
  const { clientId: _none, itemHash: _hash, ...traded } = trade;
  const next = { ...position, ...STOPS, version: 2 };
  const changes: NewChange[] = [
    insert('order', order),
    update('order', order, ledger.orderOf(order)),
    insert('position', position),
    insert('trade', traded),
    update('position', position, next),
  ];
  return { rows: { order: ledger.orderOf(order), position: next, trade: traded }, changes };
}

type Row = { readonly id: string };

function insert(entity: string, after: Row): NewChange {
  return { accountId: 'main', entity, operation: 'INSERT', ids: [after.id], after };
}

function update(entity: string, before: Row, after: Row): NewChange {
  return { accountId: 'main', entity, operation: 'UPDATE', ids: [after.id], before, after };
}

type Rows = Awaited<ReturnType<typeof unitOf>>['rows'];

async function writeByHand(
  driver: postgres.Sql,
  { order, position, trade }: Rows,
  changes: string,
): Promise<void> {
  await driver.begin((sql) => [
    sql`
        insert into orders (account_id, id, exchange, symbol, side, type, time_in_force, status,
          price, quantity, leverage, reduce_only, position_side, client_order_id, strategy,
          created_at, updated_at, item_hash)
        values ('main', ${order.id}, ${order.exchange}, ${order.symbol}, 'BUY', 'LIMIT', 'GTC',
          'PENDING', ${order.price}, ${order.quantity}, 1, false, 'LONG', ${order.clientOrderId},
          ${order.strategy}, ${AT}, ${AT}, decode(${ITEM_HASH}, 'hex'))`,
    sql`
        update orders set status = 'FILLED', filled_quantity = ${order.filledQuantity},
          average_price = ${order.averagePrice}, closed_at = ${AT}, updated_at = ${AT},
          position_id = ${order.positionId}, version = 2
        where account_id = 'main' and id = ${order.id}`,
    sql`
        insert into positions (account_id, id, exchange, symbol, side, status, quantity,
          entry_price, fees, strategy, opened_at, updated_at, has_fills)
        values ('main', ${position.id}, ${position.exchange}, ${position.symbol}, 'LONG', 'OPEN',
          ${position.quantity}, ${position.entryPrice}, ${position.fees}, ${position.strategy},
          ${AT}, ${AT}, true)`,
    sql`
        insert into trades (account_id, id, exchange, symbol, side, price, quantity, commission,
          commission_asset, exchange_trade_id, strategy, executed_at, order_id, position_id,
          item_hash)
        values ('main', ${trade.id}, ${trade.exchange}, ${trade.symbol}, 'BUY', ${trade.price},
          ${trade.quantity}, ${trade.commission}, ${trade.commissionAsset},
          ${trade.exchangeTradeId}, ${trade.strategy}, ${AT}, ${trade.orderId},
          ${trade.positionId}, decode(${ITEM_HASH}, 'hex'))`,
    sql`
        update positions set stop_loss_price = ${position.stopLossPrice},
          take_profit_price = ${position.takeProfitPrice}, updated_at = ${AT}, version = 2
        where account_id = 'main' and id = ${position.id}`,
    sql`
        insert into changes select * from json_populate_recordset(
          null::changes, ${changes}::text::json)`,
  ]);
}
