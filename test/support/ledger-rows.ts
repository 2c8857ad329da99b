import fc from 'fast-check';
import { uuidOf } from '../../datasources/id.ts';
import type { Dimension, PositionRow, SeriesPlan, TradeRow } from './performance-model.ts';
import { SEED } from './seed.ts';
import type { TestServer } from './server.ts';

/** Rows of trades and positions as no API call makes them: any instant, any amounts. */

export interface MadeTrade extends TradeRow {
  readonly exchange: string;
  readonly commissionAsset: string | null;
}

export interface MadePosition extends PositionRow {
  readonly id: string;
  readonly exchange: string;
  readonly status: 'CLOSED' | 'LIQUIDATED';
}

const UNIT = 10n ** 18n;

function decimal(units: bigint): string {
  const digits = (units < 0n ? -units : units).toString().padStart(19, '0');
  return `${units < 0n ? '-' : ''}${digits.slice(0, -18)}.${digits.slice(-18)}`;
}

/** Of few digits and of many; ties at 0 among them. */
const pnl: fc.Arbitrary<string> = fc
  .oneof(
    fc.constantFrom(0n, UNIT, -UNIT, 3n * UNIT, -2n * UNIT),
    fc.bigInt({ min: -50_000n * UNIT, max: 50_000n * UNIT }),
  )
  .map(decimal);
const fee: fc.Arbitrary<string> = fc
  .oneof(fc.constantFrom(0n, UNIT), fc.bigInt({ min: -UNIT, max: 20n * UNIT }))
  .map(decimal);
const positive: fc.Arbitrary<string> = fc.bigInt({ min: 1n, max: 90_000n * UNIT }).map(decimal);

/** Microseconds within a span of milliseconds. */
function instantIn(fromMs: number, toMs: number): fc.Arbitrary<string> {
  return fc.tuple(fc.integer({ min: fromMs, max: toMs - 1 }), fc.nat({ max: 999 })).map(instantOf);
}

function instantOf([ms, us]: readonly [number, number]): string {
  return `${new Date(ms).toISOString().slice(0, 23)}${String(us).padStart(3, '0')}Z`;
}

/** What a commission is in, and whether that is what the symbol counts in. */
const COMMISSIONS = [
  ['BTCUSDT', null, true],
  ['BTCUSDT', 'USDT', true],
  ['BTCUSDT', 'BNB', false],
  ['ETH-USDC-SWAP', 'USDC', true],
  ['ETH-USDC-SWAP', 'SWAP', false],
  ['SOL/EUR:EUR', 'EUR', true],
  // Registered, against what its name says.
  ['XBTUSD', 'XBT', true],
  ['XBTUSD', 'USD', false],
] as const;

const tradeIn = (fromMs: number, toMs: number): fc.Arbitrary<MadeTrade> =>
  fc
    .record({
      price: positive,
      quantity: positive,
      realizedPnl: pnl,
      commission: fee,
      executedAt: instantIn(fromMs, toMs),
      of: fc.constantFrom(...COMMISSIONS),
    })
    .map(({ of: [symbol, commissionAsset, isFee], ...trade }) => ({
      ...trade,
      exchange: 'bybit',
      symbol,
      commissionAsset,
      isFee,
    }));

export function makeTrades(count: number, fromMs: number, toMs: number): readonly MadeTrade[] {
  return fc.sample(tradeIn(fromMs, toMs), { seed: SEED, numRuns: count });
}

export function makePositions(count: number, fromMs: number, toMs: number) {
  const position = fc
    .record({
      exchange: fc.constantFrom('bybit', 'okx'),
      symbol: fc.constantFrom('BTCUSDT', 'ETHUSDT', 'ÜUSDT', 'aUSDT'),
      strategy: fc.constantFrom(null, 'grid', 'Breakout', 'scalp'),
      side: fc.constantFrom('LONG', 'SHORT'),
      status: fc.constantFrom('CLOSED', 'CLOSED', 'LIQUIDATED'),
      realizedPnl: pnl,
      fees: fee,
      // Close to midnight as often as not.
      closedAt: fc.oneof(
        instantIn(fromMs, toMs),
        fc
          .tuple(fc.integer({ min: 0, max: 3 }), fc.constantFrom(-1, 0, 1))
          .map(([day, us]) => aroundMidnight(fromMs + day * 86_400_000, us)),
      ),
      heldMs: fc.nat({ max: 40 * 86_400_000 }),
      heldUs: fc.nat({ max: 999 }),
    })
    .map(({ heldMs, heldUs, ...made }): MadePosition => {
      const openedMs = Date.parse(made.closedAt) - 1 - heldMs;
      const openedAt = instantOf([openedMs, heldUs]);
      return { ...made, openedAt, id: uuidOf(openedMs) } as MadePosition;
    });
  return fc.sample(position, { seed: SEED, numRuns: count });
}

function aroundMidnight(ms: number, us: -1 | 0 | 1): string {
  const midnightMs = Math.floor(ms / 86_400_000) * 86_400_000;
  return us === -1 ? instantOf([midnightMs - 1, 999]) : instantOf([midnightMs, us]);
}

export async function insertTrades(
  { sql }: TestServer,
  account: string,
  trades: readonly MadeTrade[],
): Promise<void> {
  const rows = trades.map((trade) => ({ ...trade, id: uuidOf(Date.parse(trade.executedAt)) }));
  await sql`
    insert into instruments (exchange, symbol, quote_asset) values ('bybit', 'XBTUSD', 'XBT')
    on conflict do nothing`;
  await sql`
    insert into trades (account_id, id, exchange, symbol, side, price, quantity, commission,
      commission_asset, realized_pnl, executed_at, position_id)
    select ${account}, id, exchange, symbol, 'BUY', price, quantity, commission,
      "commissionAsset", "realizedPnl", "executedAt", gen_random_uuid()
    from json_to_recordset(${JSON.stringify(rows)}::text::json) as row (
      id uuid, exchange text, symbol text, price numeric, quantity numeric, commission numeric,
      "commissionAsset" text, "realizedPnl" numeric, "executedAt" timestamptz)`;
}

export async function insertPositions(
  { sql }: TestServer,
  account: string,
  positions: readonly MadePosition[],
): Promise<void> {
  await sql`
    insert into positions (account_id, id, exchange, symbol, side, status, quantity, entry_price,
      realized_pnl, fees, strategy, opened_at, updated_at, closed_at)
    select ${account}, id, exchange, symbol, side, status, 0, 1, "realizedPnl", fees, strategy,
      "openedAt", "closedAt", "closedAt"
    from json_to_recordset(${JSON.stringify(positions)}::text::json) as row (
      id uuid, exchange text, symbol text, side text, status text, "realizedPnl" numeric,
      fees numeric, strategy text, "openedAt" timestamptz, "closedAt" timestamptz)`;
}

/** The answer of pnlSeries, every field of it. */
export const SERIES = `query ($account: ID, $where: TradeWhere, $bucket: BucketInput!) {
  pnlSeries(account: $account, where: $where, bucket: $bucket) {
    points { at realizedPnl fees volume trades cumulativePnl drawdown }
    maxDrawdown maxDrawdownFrom maxDrawdownTo sharpe sortino
  }
}`;

export interface SeriesAnswer {
  readonly pnlSeries: {
    readonly points: readonly {
      readonly at: string;
      readonly realizedPnl: string | null;
      readonly trades: number | null;
    }[];
    readonly maxDrawdown: string;
    readonly maxDrawdownFrom: string | null;
    readonly maxDrawdownTo: string | null;
    readonly sharpe: number | null;
    readonly sortino: number | null;
  };
}

export function seriesVariables(account: string, plan: SeriesPlan, where: object = {}) {
  const { size, timeZone, fill, from, to } = plan;
  return {
    account,
    where: { ...where, executedAt: { from, to } },
    bucket: { size, timeZone, fill },
  };
}

/** The answer of tradingPerformance, every field of it. */
export const PERFORMANCE = `query (
  $account: ID, $where: TradeWhere, $groupBy: [PerformanceDimension!]
) {
  tradingPerformance(account: $account, where: $where, groupBy: $groupBy) {
    symbol strategy side day closedPositions wins losses winRate grossProfit grossLoss netPnl fees
    profitFactor expectancy averageWin averageLoss best worst averageHoldSeconds
  }
}`;

const DIMENSIONS: readonly Dimension[] = ['SYMBOL', 'STRATEGY', 'SIDE', 'DAY'];

/** Every set of dimensions, and those of several the other way around as well. */
export const GROUPINGS: readonly (readonly Dimension[])[] = Array.from(
  { length: 2 ** DIMENSIONS.length },
  (_none, bits) => DIMENSIONS.filter((_one, place) => (bits & (1 << place)) !== 0),
).flatMap((chosen) => (chosen.length > 1 ? [chosen, chosen.toReversed()] : [chosen]));

const FLOAT_ERROR = 1e-12;

/** What is expected, with floats that need to agree to 12 digits; all else has to be equal. */
export function nearly(value: unknown): unknown {
  if (typeof value === 'number') {
    return {
      asymmetricMatch: (other: unknown) =>
        typeof other === 'number' &&
        Math.abs(other - value) <= FLOAT_ERROR * Math.max(1, Math.abs(value)),
      toString: () => String(value),
    };
  }
  if (Array.isArray(value)) return value.map(nearly);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, nearly(item)]));
}
