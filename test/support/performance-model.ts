import { Decimal } from 'decimal.js';

/**
 * The figures of trading a second time, in plain TypeScript over the rows of the tables: decimals by
 * decimal.js, time zones by Intl. It shares nothing with the statements it judges.
 */

const Exact = Decimal.clone({ precision: 100, rounding: Decimal.ROUND_HALF_EVEN });
type Amount = InstanceType<typeof Exact>;

export interface PositionRow {
  readonly symbol: string;
  readonly strategy: string | null;
  readonly side: 'LONG' | 'SHORT';
  readonly realizedPnl: string;
  readonly fees: string;
  readonly openedAt: string;
  readonly closedAt: string;
}

export interface TradeRow {
  readonly symbol: string;
  readonly price: string;
  readonly quantity: string;
  readonly realizedPnl: string;
  readonly commission: string;
  /** Whether the commission is in quote currency. */
  readonly isFee: boolean;
  readonly executedAt: string;
}

export type Dimension = 'SYMBOL' | 'STRATEGY' | 'SIDE' | 'DAY';

function zero(): Amount {
  return new Exact(0);
}

function sum(amounts: readonly Amount[]): Amount {
  return amounts.reduce((total, amount) => total.plus(amount), zero());
}

/** As amounts are printed: half-even to 18 digits, in the shortest form. */
export function text(amount: Amount): string {
  return amount.toDecimalPlaces(18, Decimal.ROUND_HALF_EVEN).plus(0).toFixed();
}

function quotient(dividend: Amount, divisor: Amount | number): string | null {
  return new Exact(divisor).isZero() ? null : text(dividend.div(divisor));
}

/** Milliseconds, and the microseconds behind them. */
function split(instant: string): { readonly ms: number; readonly us: number } {
  return { ms: Date.parse(`${instant.slice(0, 23)}Z`), us: Number(instant.slice(23, 26)) };
}

function secondsBetween(from: string, to: string): number {
  const [a, b] = [split(from), split(to)];
  return (b.ms - a.ms) / 1000 + (b.us - a.us) / 1_000_000;
}

const KEYS: Readonly<Record<Dimension, (row: PositionRow) => string | null>> = {
  SYMBOL: (row) => row.symbol,
  STRATEGY: (row) => row.strategy,
  SIDE: (row) => row.side,
  DAY: (row) => `${row.closedAt.slice(0, 10)}T00:00:00.000000Z`,
};

/** Null comes last. */
function compare(a: string | null, b: string | null): number {
  if (a === b) return 0;
  if (a === null || b === null) return a === null ? 1 : -1;
  return a < b ? -1 : 1;
}

/** The rows of tradingPerformance over closed positions. */
export function performanceOf(rows: readonly PositionRow[], dimensions: readonly Dimension[]) {
  const keysOf = (row: PositionRow) => dimensions.map((dimension) => KEYS[dimension](row));
  const groups = new Map<string, PositionRow[]>();
  if (dimensions.length === 0) groups.set('[]', []);
  for (const row of rows) {
    const key = JSON.stringify(keysOf(row));
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups]
    .map(([key, group]) => ({ keys: JSON.parse(key) as (string | null)[], group }))
    .sort((a, b) => {
      for (const [place, key] of a.keys.entries()) {
        const order = compare(key, b.keys[place] ?? null);
        if (order !== 0) return order;
      }
      return 0;
    })
    .map(({ keys, group }) => {
      const keyOf = (dimension: Dimension) => {
        const place = dimensions.indexOf(dimension);
        return place === -1 ? null : (keys[place] ?? null);
      };
      return {
        symbol: keyOf('SYMBOL'),
        strategy: keyOf('STRATEGY'),
        side: keyOf('SIDE'),
        day: keyOf('DAY'),
        ...figuresOf(group),
      };
    });
}

function figuresOf(rows: readonly PositionRow[]) {
  const results = rows.map((row) => new Exact(row.realizedPnl).minus(row.fees));
  const won = results.filter((result) => result.gt(0));
  const lost = results.filter((result) => result.lt(0));
  const grossProfit = sum(won);
  const grossLoss = sum(lost).negated();
  const net = sum(results);
  const held = rows.map((row) => secondsBetween(row.openedAt, row.closedAt));
  const count = rows.length;
  return {
    closedPositions: count,
    wins: won.length,
    losses: lost.length,
    winRate: count === 0 ? null : won.length / count,
    grossProfit: text(grossProfit),
    grossLoss: text(grossLoss),
    netPnl: text(net),
    fees: text(sum(rows.map((row) => new Exact(row.fees)))),
    profitFactor: quotient(grossProfit, grossLoss),
    expectancy: quotient(net, count),
    averageWin: quotient(grossProfit, won.length),
    averageLoss: quotient(grossLoss, lost.length),
    best: count === 0 ? null : text(Exact.max(...results)),
    worst: count === 0 ? null : text(Exact.min(...results)),
    averageHoldSeconds:
      count === 0 ? null : held.reduce((total, seconds) => total + seconds, 0) / count,
  };
}

export interface SeriesPlan {
  readonly size: string;
  readonly timeZone: string;
  readonly fill: 'NONE' | 'NULL' | 'ZERO' | 'PREVIOUS';
  /** from <= t < to; a missing end is that of the trades. */
  readonly from?: string;
  readonly to?: string;
}

const MINUTE_MS = 60_000;
const TICK_MS = 15 * MINUTE_MS;
const LENGTHS: Readonly<Record<string, number>> = {
  '1m': MINUTE_MS,
  '5m': 5 * MINUTE_MS,
  '15m': TICK_MS,
  '1h': 60 * MINUTE_MS,
  '4h': 240 * MINUTE_MS,
  '1d': 1440 * MINUTE_MS,
  '1w': 7 * 1440 * MINUTE_MS,
};
/** A Monday. */
const ORIGIN_MS = Date.UTC(2000, 0, 3);

/** What the clock on the wall reads, as milliseconds of a clock that stands at UTC. */
function wallReader(timeZone: string): (ms: number) => number {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
  const read = new Map<number, number>();
  return (ms) => {
    const known = read.get(ms);
    if (known !== undefined) return known;
    const parts = Object.fromEntries(
      format.formatToParts(ms).map(({ type, value }) => [type, Number(value)]),
    );
    const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = parts;
    const wall = Date.UTC(year, month - 1, day, hour, minute, second);
    read.set(ms, wall);
    return wall;
  };
}

/** Reading a clock takes long: what was read is kept, by zone. */
const readers = new Map<string, (ms: number) => number>();

function readerOf(timeZone: string): (ms: number) => number {
  const reader = readers.get(timeZone) ?? wallReader(timeZone);
  readers.set(timeZone, reader);
  return reader;
}

function floorOf(wallMs: number, size: string): number {
  if (size === '1mo') {
    const wall = new Date(wallMs);
    return Date.UTC(wall.getUTCFullYear(), wall.getUTCMonth(), 1);
  }
  const length = LENGTHS[size] ?? Number.NaN;
  return ORIGIN_MS + Math.floor((wallMs - ORIGIN_MS) / length) * length;
}

/** Where buckets begin: by walking along the clock in steps of 15 minutes. */
export function bucketStartsOf(size: string, timeZone: string, firstMs: number, lastMs: number) {
  const fixedMs = LENGTHS[size] ?? Number.POSITIVE_INFINITY;
  const starts: number[] = [];
  if (fixedMs <= TICK_MS) {
    for (let ms = Math.floor(firstMs / fixedMs) * fixedMs; ms <= lastMs; ms += fixedMs) {
      starts.push(ms);
    }
    return starts;
  }
  const wallOf = readerOf(timeZone);
  // Begins two buckets early; what ends before the first instant is dropped.
  const marginMs = size === '1mo' ? 63 * 1440 * MINUTE_MS : 2 * fixedMs + 3 * 60 * MINUTE_MS;
  let highest = Number.NEGATIVE_INFINITY;
  const beginMs = Math.floor((firstMs - marginMs) / TICK_MS) * TICK_MS;
  for (let ms = beginMs; ms <= lastMs; ms += TICK_MS) {
    const wall = wallOf(ms);
    const floor = floorOf(wall, size);
    const isRepeatedHour = size === '1h' && wall === floor;
    if (floor > highest || isRepeatedHour) starts.push(ms);
    highest = Math.max(highest, floor);
  }
  const first = starts.findLastIndex((ms) => ms <= firstMs);
  return starts.slice(first);
}

/** The answer of pnlSeries over trades that match. */
export function seriesOf(rows: readonly TradeRow[], plan: SeriesPlan) {
  const inRange = rows.filter(
    ({ executedAt }) =>
      (plan.from === undefined || executedAt >= plan.from) &&
      (plan.to === undefined || executedAt < plan.to),
  );
  const times = inRange.map((row) => split(row.executedAt).ms);
  const firstMs = plan.from === undefined ? Math.min(...times) : split(plan.from).ms;
  // A range that ends on a whole millisecond ends before it.
  const lastMs = plan.to === undefined ? Math.max(...times) : split(plan.to).ms - 1;
  const starts =
    Number.isFinite(firstMs) && Number.isFinite(lastMs) && firstMs <= lastMs
      ? bucketStartsOf(plan.size, plan.timeZone, firstMs, lastMs)
      : [];
  const buckets = starts.map((at) => ({ at: instant(at), rows: [] as TradeRow[] }));
  for (const row of inRange) {
    const place = starts.findLastIndex((start) => start <= split(row.executedAt).ms);
    buckets[place]?.rows.push(row);
  }
  const points = levelsOf(buckets);
  return {
    points: shown(points, plan.fill),
    ...drawdownOf(points),
    ...ratiosOf(points, plan.size),
  };
}

function instant(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 23)}000Z`;
}

interface Level {
  readonly at: string;
  readonly isEmpty: boolean;
  readonly realizedPnl: Amount;
  readonly fees: Amount;
  readonly volume: Amount;
  readonly trades: number;
  readonly net: Amount;
  readonly total: Amount;
  readonly peak: Amount;
}

function levelsOf(buckets: readonly { at: string; rows: readonly TradeRow[] }[]): Level[] {
  let total = zero();
  let peak = zero();
  return buckets.map(({ at, rows }) => {
    const realizedPnl = sum(rows.map((row) => new Exact(row.realizedPnl)));
    const fees = sum(rows.filter((row) => row.isFee).map((row) => new Exact(row.commission)));
    const volume = sum(rows.map((row) => new Exact(row.price).times(row.quantity)));
    const net = realizedPnl.minus(fees);
    total = total.plus(net);
    peak = Exact.max(peak, total);
    const isEmpty = rows.length === 0;
    return { at, isEmpty, realizedPnl, fees, volume, trades: rows.length, net, total, peak };
  });
}

const NOTHING = {
  realizedPnl: null,
  fees: null,
  volume: null,
  trades: null,
  cumulativePnl: null,
  drawdown: null,
};

function valuesOf(level: Level) {
  return {
    realizedPnl: text(level.realizedPnl),
    fees: text(level.fees),
    volume: text(level.volume),
    trades: level.trades,
    cumulativePnl: text(level.total),
    drawdown: text(level.peak.minus(level.total)),
  };
}

function shown(levels: readonly Level[], fill: SeriesPlan['fill']) {
  let previous: object = NOTHING;
  return levels.flatMap((level) => {
    const values = valuesOf(level);
    if (!level.isEmpty) previous = values;
    if (!level.isEmpty || fill === 'ZERO') return [{ at: level.at, ...values }];
    if (fill === 'NONE') return [];
    return [{ at: level.at, ...(fill === 'NULL' ? NOTHING : previous) }];
  });
}

function drawdownOf(levels: readonly Level[]) {
  let deepest = zero();
  let trough: Level | undefined;
  for (const level of levels) {
    const drawdown = level.peak.minus(level.total);
    if (drawdown.lte(deepest)) continue;
    deepest = drawdown;
    trough = level;
  }
  const peak = trough?.peak;
  const from = peak?.isZero() ? levels[0] : peak && levels.find(({ total }) => total.eq(peak));
  return {
    maxDrawdown: text(deepest),
    maxDrawdownFrom: from?.at ?? null,
    maxDrawdownTo: trough?.at ?? null,
  };
}

function ratiosOf(levels: readonly Level[], size: string) {
  const count = levels.length;
  if (count < 2) return { sharpe: null, sortino: null };
  const mean = sum(levels.map(({ net }) => net)).div(count);
  const squares = sum(levels.map(({ net }) => net.minus(mean).pow(2)));
  const losses = sum(levels.map(({ net }) => Exact.min(net, 0).pow(2)));
  const yearMs = new Exact('365.2425').times(1440 * MINUTE_MS);
  const perYear = size === '1mo' ? new Exact(12) : yearMs.div(LENGTHS[size] ?? Number.NaN);
  const ratio = (deviation: Amount) =>
    deviation.isZero() ? null : mean.div(deviation).times(perYear.sqrt()).toNumber();
  return {
    sharpe: ratio(squares.div(count - 1).sqrt()),
    sortino: ratio(losses.div(count).sqrt()),
  };
}
