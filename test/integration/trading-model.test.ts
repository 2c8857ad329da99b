import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UNIT } from '../support/fill-model.ts';
import {
  type BookedBatch,
  type Market,
  type MarketFill,
  type OrderPlan,
  openMarket,
  readMarket,
  runModel,
  sendFills,
} from '../support/market.ts';
import { SEED } from '../support/seed.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  // A slot for each bot; and nothing is judged by how long it waits for the others.
  const environment = { TRADING_SLOTS: '8', DEADLINE_MS: '600000' };
  server = await startTestServer({ environment });
});

afterAll(() => server.stop());

const TURNS = 5;

const BUY = { side: 'BUY', positionSide: 'LONG', reduceOnly: false } as const;
const SELL = { side: 'SELL', positionSide: 'SHORT', reduceOnly: false } as const;
const EXIT = { side: 'SELL', positionSide: 'LONG', reduceOnly: true } as const;
const COVER = { side: 'BUY', positionSide: 'SHORT', reduceOnly: true } as const;

function ordersOf(isHedged: boolean, quantity: bigint): readonly OrderPlan[] {
  return [BUY, SELL, EXIT, COVER].map((order) => ({
    ...order,
    // In a hedge account the side says which orders reduce.
    reduceOnly: order.reduceOnly && !isHedged,
    quantity,
  }));
}

/** Amounts of few and of many digits. */
const amount: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: 1n, max: 9n }).map((whole) => whole * UNIT),
  fc.bigInt({ min: 1n, max: 9n * UNIT }),
);

function fillPlan(symbols: number): fc.Arbitrary<Omit<MarketFill, 'exchangeTradeId'>> {
  return fc.record({
    symbol: fc.nat({ max: symbols - 1 }),
    order: fc.nat({ max: 3 }),
    price: amount,
    quantity: amount,
    fee: fc.bigInt({ min: -UNIT, max: UNIT }),
  });
}

function named(
  fills: readonly Omit<MarketFill, 'exchangeTradeId'>[],
  prefix: string,
): readonly MarketFill[] {
  return fills.map((fill, index) => ({ ...fill, exchangeTradeId: `${prefix}${index}` }));
}

function codesOf({ results }: BookedBatch): readonly (string | null)[] {
  return results.map((result) => result.error?.code ?? null);
}

/** The batches that stored something, in the order of their commits. */
function inCommitOrder(batches: readonly BookedBatch[]): readonly BookedBatch[] {
  return batches
    .filter(({ seq }) => seq !== null)
    .toSorted((a, b) => ((a.seq ?? 0n) < (b.seq ?? 0n) ? -1 : 1));
}

/** What is stored, and what each item was answered, is what the model says in commit order. */
async function expectModel(market: Market, batches: readonly BookedBatch[]): Promise<void> {
  const committed = inCommitOrder(batches);
  const { state, codes } = runModel(
    market,
    committed.map(({ fills }) => fills),
  );
  expect(committed.map(codesOf)).toEqual(codes);
  expect(await readMarket(server, market)).toEqual(state);
}

describe(`eight bots over the same positions, seed ${SEED}`, () => {
  it('meet no deadlock, and every answer is true afterwards', async () => {
    const market = await openMarket(server, {
      isHedged: false,
      symbols: 300,
      orders: ordersOf(false, 40n * UNIT),
    });
    const plans = fc.sample(fc.array(fillPlan(300), { minLength: 50, maxLength: 50 }), {
      seed: SEED,
      numRuns: 8 * TURNS,
    });
    const bots = Array.from({ length: 8 }, async (_none, bot) => {
      const booked: BookedBatch[] = [];
      for (const [turn, fills] of plans.slice(bot * TURNS, (bot + 1) * TURNS).entries()) {
        booked.push(await sendFills(server, market, named(fills, `${bot}.${turn}.`)));
        await nudge(
          market,
          fills.map((fill) => fill.symbol),
        );
      }
      return booked;
    });
    const batches = (await Promise.all(bots)).flat();
    await expectModel(market, batches);
    await expectTrades(market, batches);
    await expectVersions(market);
  });
});

/** Changes the open positions of these symbols, whatever side they are on by then. */
async function nudge(market: Market, places: readonly number[]): Promise<void> {
  const symbols = [...new Set(places)].map((place) => market.symbols[place]);
  const items = symbols.flatMap((symbol) =>
    ['LONG', 'SHORT'].map((side) => ({
      exchange: 'bybit',
      symbol,
      side,
      leverage: String(1 + Math.floor(symbols.length / 10)),
      metadata: { by: places.length },
    })),
  );
  const answer = await server.request(
    `mutation ($input: UpdatePositionsInput!) {
      updatePositions(input: $input) { counts { updated unchanged notFound conflict } }
    }`,
    { input: { account: market.account, mode: 'PER_ITEM', items } },
  );
  expect(answer.errors).toEqual([]);
}

/** A trade stands for each fill that was CREATED, as it was answered, and for no other. */
async function expectTrades(market: Market, batches: readonly BookedBatch[]): Promise<void> {
  const rows = await server.sql<{ name: string; pnl: string }[]>`
    select exchange_trade_id as name, trim_scale(realized_pnl)::text as pnl
    from trades where account_id = ${market.account} order by exchange_trade_id collate "C"`;
  const answered = batches
    .flatMap(({ results }) => results)
    .flatMap(({ trade }) =>
      trade === null ? [] : [{ name: trade.exchangeTradeId ?? '', pnl: trade.realizedPnl }],
    )
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  expect([...rows]).toEqual(answered);
}

/** The version of each row counts its changes in the log. */
async function expectVersions({ account }: Market): Promise<void> {
  const rows = await server.sql`
    select p.id from positions p
    left join (
      select ids[1] as id, count(*) as changes from changes
      where account_id = ${account} and entity = 'position' group by ids[1]) as log
      on log.id = p.id::text
    where p.account_id = ${account} and p.version is distinct from log.changes`;
  expect([...rows]).toEqual([]);
}

interface Split {
  readonly isHedged: boolean;
  readonly fills: readonly Omit<MarketFill, 'exchangeTradeId'>[];
  readonly cuts: readonly number[];
  readonly repeats: readonly boolean[];
}

const split: fc.Arbitrary<Split> = fc.record({
  isHedged: fc.boolean(),
  fills: fc.array(fillPlan(2), { minLength: 2, maxLength: 24 }),
  cuts: fc.array(fc.nat({ max: 24 }), { maxLength: 4 }),
  repeats: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
});

describe(`a batch that is repeated or split, seed ${SEED}`, () => {
  it('leaves quantities, profits and states as one run does', async () => {
    const property = fc.asyncProperty(split, async ({ isHedged, fills, cuts, repeats }) => {
      const plan = { isHedged, symbols: 2, orders: ordersOf(isHedged, 25n * UNIT) };
      const [whole, parts] = [await openMarket(server, plan), await openMarket(server, plan)];
      const all = named(fills, 'f');
      const once = await sendFills(server, whole, all);
      await expectReplay(whole, once);

      const bounds = [0, ...cuts.filter((cut) => cut < all.length).sort((a, b) => a - b)];
      const answers: (string | null)[] = [];
      for (const [place, from] of bounds.entries()) {
        const chunk = all.slice(from, bounds[place + 1]);
        if (chunk.length === 0) continue;
        const booked = await sendFills(server, parts, chunk);
        answers.push(...codesOf(booked));
        if (repeats[place] === true) await expectReplay(parts, booked);
      }
      expect(answers).toEqual(codesOf(once));
      expect(await readMarket(server, parts)).toEqual(await readMarket(server, whole));
      await expectModel(whole, [once]);
    });
    await fc.assert(property, { seed: SEED, numRuns: 60 });
  });
});

/** What was booked is not booked again; what was refused may be right later on. */
async function expectReplay(market: Market, { fills, results }: BookedBatch): Promise<void> {
  const created = fills.filter((_fill, place) => results[place]?.status === 'CREATED');
  if (created.length === 0) return;
  const again = await sendFills(server, market, created);
  expect(new Set(again.results.map((result) => result.status))).toEqual(new Set(['REPLAYED']));
  expect(again.seq).toBeNull();
}

describe(`batches of two bots interleaved, seed ${SEED}`, () => {
  it('agree with the model run in commit order', async () => {
    const bot = fc.array(fc.array(fillPlan(3), { minLength: 1, maxLength: 8 }), {
      minLength: 1,
      maxLength: 5,
    });
    const property = fc.asyncProperty(fc.boolean(), bot, bot, async (isHedged, ...bots) => {
      const orders = ordersOf(isHedged, 30n * UNIT);
      const market = await openMarket(server, { isHedged, symbols: 3, orders });
      const runs = bots.map(async (batches, number) => {
        const booked: BookedBatch[] = [];
        for (const [turn, fills] of batches.entries()) {
          booked.push(await sendFills(server, market, named(fills, `${number}.${turn}.`)));
        }
        return booked;
      });
      await expectModel(market, (await Promise.all(runs)).flat());
    });
    await fc.assert(property, { seed: SEED, numRuns: 60 });
  });
});
