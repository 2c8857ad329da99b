import { createMarkRepository, type Mark } from '../datasources/mark.ts';
import { writeAtOnce } from '../datasources/held-writes.ts';
import { makeBody } from './client.ts';
import { createCapture, runStatement } from './driver-statement.ts';
import { type Contender, race } from './race.ts';
import type { Bench, Result } from './table.ts';
import { withWorld, type World } from './world.ts';

/**
 * `markPrices` over HTTP: 50 symbols a request in an account with 10,000 open positions (50 symbols
 * at 100 exchanges, LONG and SHORT), 10 of whose stops are crossed, against what writes the same by
 * the driver in this process: BEGIN, the two very statements of the product (the upsert of the marks
 * and the one that decides and marks the stops), one INSERT of the 11 change rows, COMMIT. The
 * driver checks nothing, makes no hash chain, answers nobody, and its documents and JSON are made
 * before the clock runs. Each connection marks exchanges of its own.
 */
const MARK_PRICES = `
  mutation BenchMark($input: MarkPricesInput!) {
    markPrices(input: $input) {
      updated triggered { kind price position { id version } }
    }
  }`;

const OPEN_POSITIONS = `
  mutation BenchOpen($input: OpenPositionsInput!) {
    openPositions(input: $input) { counts { created } }
  }`;

const ACCOUNT = 'hedge';
const EXCHANGES = 100;
const SYMBOLS = 50;
/** Both sides of each of these symbols have a stop that the mark crosses. */
const SYMBOLS_CROSSED = 5;
const CROSSED = 2 * SYMBOLS_CROSSED;
const ITEMS_MAX = 1000;
const ACCEPT = 0.5;
const STARTED_AT_MS = Date.UTC(2026, 0, 1);

export async function markPricesLines(bench: Bench): Promise<readonly Result[]> {
  const size = { connections: 1, batches: bench.isQuick ? 2 : 20 };
  return [await withWorld(bench, 'mark_prices', (world) => measure(world, size, bench.isQuick))];
}

async function measure(world: World, size: Size, isQuick: boolean): Promise<Result> {
  const { product, limit, ratio } = await race(
    await createProduct(world, size),
    await createLimit(world, size),
    isQuick ? 1 : 7,
  );
  const rate = (jobs: number) => `${Math.round(jobs).toLocaleString('en')} calls/s`;
  return {
    line: 'markPrices, 50 symbols, 10 of 10,000 stops crossed',
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

/** The marks of a batch; no two batches of a connection cross the same stops. */
function marksOf(size: Size, connection: number, batch: number): readonly Mark[] {
  const exchanges = EXCHANGES / size.connections;
  const exchange = `e${connection * exchanges + (batch % exchanges)}`;
  const first = Math.floor(batch / exchanges) * SYMBOLS_CROSSED;
  if (first + SYMBOLS_CROSSED > SYMBOLS) throw new Error('every stop was crossed');
  const at = `${new Date(STARTED_AT_MS + batch * 1000).toISOString().slice(0, 23)}000Z`;
  return Array.from({ length: SYMBOLS }, (_none, symbol) => {
    const isCrossed = symbol >= first && symbol < first + SYMBOLS_CROSSED;
    return { exchange, symbol: `S${symbol}USDT`, price: isCrossed ? '80.125' : '100.5', at };
  });
}

async function createProduct({ client }: World, size: Size): Promise<Contender> {
  await client.query(
    `mutation { createAccount(input: { id: "${ACCOUNT}", name: "Hedge", hedgeMode: true }) { id } }`,
  );
  const items = Array.from({ length: EXCHANGES * SYMBOLS }, (_none, place) => {
    const exchange = `e${Math.floor(place / SYMBOLS)}`;
    const symbol = `S${place % SYMBOLS}USDT`;
    const common = { exchange, symbol, quantity: '0.125', entryPrice: '100', strategy: 'trend' };
    return [
      { ...common, side: 'LONG', stopLossPrice: '90' },
      { ...common, side: 'SHORT', takeProfitPrice: '90' },
    ];
  }).flat();
  for (let place = 0; place < items.length; place += ITEMS_MAX) {
    const input = { account: ACCOUNT, items: items.slice(place, place + ITEMS_MAX) };
    await client.query(OPEN_POSITIONS, { input });
  }
  return {
    async prepare(round) {
      return Array.from({ length: size.connections }, (_none, connection) =>
        Array.from({ length: size.batches }, (_nothing, batch) => {
          const marks = marksOf(size, connection, round * size.batches + batch);
          const body = makeBody(MARK_PRICES, { input: { account: ACCOUNT, items: marks } });
          return async () => {
            const answer = await client.post(body);
            const crossed = answer.split('"kind"').length - 1;
            if (crossed !== CROSSED) throw new Error(answer.slice(0, 500));
          };
        }),
      );
    },
  };
}

async function createLimit(world: World, size: Size): Promise<Contender> {
  const drivers = Array.from({ length: size.connections }, () => world.openDriver());
  const [first] = drivers;
  if (first === undefined) throw new Error('there is no connection');
  await first`insert into accounts (id, name) values (${ACCOUNT}, 'Hedge')`;
  await first`
    insert into positions (account_id, id, exchange, symbol, side, status, quantity, entry_price,
      stop_loss_price, take_profit_price, strategy, opened_at, updated_at)
    select ${ACCOUNT}, gen_random_uuid(), 'e' || exchange, 'S' || symbol || 'USDT', side, 'OPEN',
      0.125, 100, case side when 'LONG' then 90 end, case side when 'SHORT' then 90 end, 'trend',
      now(), now()
    from generate_series(0, ${EXCHANGES - 1}::int) as exchange,
      generate_series(0, ${SYMBOLS - 1}::int) as symbol, unnest('{LONG,SHORT}'::text[]) as side`;
  const [document] = await first<{ document: object }[]>`
    select row_to_json(positions) as document from positions limit 1`;
  const positionDocument = document?.document ?? {};
  let seq = 0;
  return {
    async prepare(round) {
      const lists = [];
      for (const [connection, driver] of drivers.entries()) {
        const jobs = [];
        for (let batch = 0; batch < size.batches; batch += 1) {
          const marks = marksOf(size, connection, round * size.batches + batch);
          const statements = await toStatements(marks);
          const changes = JSON.stringify(toChanges(marks, positionDocument, seq));
          seq += CROSSED + 1;
          jobs.push(async () => {
            await driver.begin(async (transaction) => {
              const counts = [];
              for (const statement of statements) {
                counts.push(await runStatement(transaction, statement));
              }
              if (counts[1] !== CROSSED) throw new Error(`${counts} rows were written`);
              await transaction`
                insert into changes select * from json_populate_recordset(
                  null::changes, ${changes}::text::json)`;
            });
          });
        }
        lists.push(jobs);
      }
      return lists;
    },
  };
}

async function toStatements(marks: readonly Mark[]) {
  const capture = createCapture(0);
  const repository = createMarkRepository(writeAtOnce(capture.sql), capture.recorder);
  await repository.upsertMany(ACCOUNT, marks);
  await repository.triggerStops(ACCOUNT, marks);
  return capture.statements;
}

/** One of the marks and one of each position, with the documents before and after. */
function toChanges(marks: readonly Mark[], position: object, seq: number): readonly object[] {
  const ids = marks.map(({ exchange, symbol }) => `${exchange} ${symbol}`);
  const marked = { entity: 'mark', operation: 'MARK', ids, before: null, after: marks };
  const triggered = Array.from({ length: CROSSED }, (_none, place) => ({
    entity: 'position',
    operation: 'UPDATE',
    ids: [`01900000-0000-7000-8000-${String(place).padStart(12, '0')}`],
    before: position,
    after: position,
  }));
  return [marked, ...triggered].map((change, place) => ({
    ...change,
    account_id: ACCOUNT,
    seq: seq + place + 1,
    at: '2026-01-01T00:00:00Z',
    count: change.ids.length,
    actor: 'key:benchmark',
    request_id: 'ab0f7d65-3f7e-4b1e-9a55-d41f6a9d3c55',
    operation_name: 'BenchMark',
    row_hash: '\\x',
    hash: '\\x',
  }));
}
