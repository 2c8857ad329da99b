import { Decimal } from 'decimal.js';
import type { CandleItem, LogPredictionItem, PositionNotes, Side } from './inputs.ts';
import { type Instrument, tickOf } from './instruments.ts';
import { CANDLE_MS, type MarketStep } from './market.ts';

export const STRATEGY = 'demo';

/** What the strategy wants done; who carries it out, and how, is not its business. */
export type Intent =
  | {
      readonly kind: 'CLOSE';
      readonly position: HeldPosition;
      readonly price: string;
      readonly reason: string;
    }
  | { readonly kind: 'MOVE_STOP'; readonly position: HeldPosition; readonly stopLossPrice: string }
  | { readonly kind: 'OPEN'; readonly entry: Entry };

/** A position that is to be opened. */
export interface Entry {
  readonly exchange: string;
  readonly symbol: string;
  readonly side: Side;
  readonly quantity: string;
  readonly price: string;
  readonly stopLossPrice: string;
  readonly takeProfitPrice: string;
  readonly leverage: string;
  readonly confidence: number;
  readonly notes: PositionNotes;
}

/** An open position of the strategy as the server knows it. */
export interface HeldPosition extends PositionNotes {
  readonly id: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: Side;
  readonly quantity: string;
  readonly entryPrice: string;
  readonly stopLossPrice: string;
  readonly takeProfitPrice: string;
  readonly leverage: string;
  /** The stop that a mark has crossed; null: none. */
  readonly stopTriggeredKind: 'STOP_LOSS' | 'TAKE_PROFIT' | null;
  readonly version: number;
}

const OPEN_MAX = 8;
const CONFIDENCE_MIN = 0.64;
/** Money put into a position at full confidence. */
const NOTIONAL = 2_500;
const LEVERAGE = '2';
/** Distances from the entry, in mean ranges of a candle. */
const STOP_RANGES = 2.5;
const TARGET_RANGES = 4;
/** A stop follows the price once it would move by this share of its distance. */
const TRAIL_STEP = 0.25;

/**
 * What to do when the candles of a step have closed, given what is held by symbol: closes first,
 * then moved stops, then opens by falling confidence. A symbol has one position at most, and what
 * was closed in a step is not opened again in it. It only reads; the same input, the same intents.
 */
export function* decide(
  step: MarketStep,
  held: ReadonlyMap<string, HeldPosition>,
  instruments: ReadonlyMap<string, Instrument>,
): Generator<Intent, void> {
  const closedAt = new Date(step.openTimeMs + CANDLE_MS).toISOString();
  const stops: Intent[] = [];
  const chances: { readonly prediction: LogPredictionItem; readonly instrument: Instrument }[] = [];
  let free = OPEN_MAX - held.size;
  for (const [index, candle] of step.candles.entries()) {
    const prediction = step.predictions[index];
    const instrument = instruments.get(candle.symbol);
    if (prediction === undefined || instrument === undefined) {
      continue;
    }
    const position = held.get(candle.symbol);
    if (position === undefined) {
      if (prediction.signal !== 'NEUTRAL' && prediction.signalConfidence >= CONFIDENCE_MIN) {
        chances.push({ prediction, instrument });
      }
      continue;
    }
    const exit = findExit(position, candle, prediction, closedAt);
    if (exit !== null) {
      free += 1;
      yield { kind: 'CLOSE', position, ...exit };
      continue;
    }
    const stopLossPrice = trailStop(position, candle, instrument);
    if (stopLossPrice !== null) {
      stops.push({ kind: 'MOVE_STOP', position, stopLossPrice });
    }
  }
  yield* stops;
  chances.sort((a, b) => b.prediction.signalConfidence - a.prediction.signalConfidence);
  for (const { prediction, instrument } of chances) {
    const entry = free > 0 ? entryOf(prediction, instrument, closedAt) : null;
    if (entry !== null) {
      free -= 1;
      yield { kind: 'OPEN', entry };
    }
  }
}

/** The first reason to leave, at the price a taker would have got; null: it stays. */
function findExit(
  position: HeldPosition,
  candle: CandleItem,
  prediction: LogPredictionItem,
  closedAt: string,
): { readonly price: string; readonly reason: string } | null {
  const isLong = position.side === 'LONG';
  const { open } = candle;
  const worse = (a: string, b: string) => (isLong ? Decimal.min(a, b) : Decimal.max(a, b));
  const better = (a: string, b: string) => (isLong ? Decimal.max(a, b) : Decimal.min(a, b));
  switch (position.stopTriggeredKind) {
    case 'STOP_LOSS':
      // A candle that opens beyond the stop fills there, not at the stop.
      return { price: worse(open, position.stopLossPrice).toFixed(), reason: 'STOP_LOSS' };
    case 'TAKE_PROFIT':
      return { price: better(open, position.takeProfitPrice).toFixed(), reason: 'TAKE_PROFIT' };
  }
  if (Date.parse(position.expiresAt) <= Date.parse(closedAt)) {
    return { price: candle.close, reason: 'HORIZON_REACHED' };
  }
  const opposite = isLong ? 'SHORT' : 'LONG';
  if (prediction.signal === opposite && prediction.signalConfidence >= CONFIDENCE_MIN) {
    return { price: candle.close, reason: 'SIGNAL_REVERSED' };
  }
  return null;
}

/** Where the stop of a position should stand now; null: where it is. */
function trailStop(
  position: HeldPosition,
  candle: CandleItem,
  instrument: Instrument,
): string | null {
  const sign = position.side === 'LONG' ? 1 : -1;
  const wanted = new Decimal(candle.close).minus(new Decimal(position.trailBy).times(sign));
  const gain = wanted.minus(position.stopLossPrice).times(sign);
  const isWorthIt = gain.gte(new Decimal(position.trailBy).times(TRAIL_STEP));
  return isWorthIt ? wanted.toFixed(instrument.priceDigits) : null;
}

/** Null where the prices leave no room for a position with both stops. */
function entryOf(
  prediction: LogPredictionItem,
  instrument: Instrument,
  openedAt: string,
): Entry | null {
  const price = new Decimal(prediction.price);
  const side = prediction.signal === 'LONG' ? 'LONG' : 'SHORT';
  const sign = side === 'LONG' ? 1 : -1;
  const quantity = new Decimal(NOTIONAL)
    .times(prediction.signalConfidence)
    .dividedBy(price)
    .toDecimalPlaces(instrument.quantityDigits, Decimal.ROUND_DOWN);
  const distance = (ranges: number) =>
    Decimal.max(
      tickOf(instrument).times(2),
      price.times(prediction.indicators.rangeRatio).times(ranges),
    ).toDecimalPlaces(instrument.priceDigits, Decimal.ROUND_UP);
  const trailBy = distance(STOP_RANGES);
  const stopLoss = price.minus(trailBy.times(sign));
  const takeProfit = price.plus(distance(TARGET_RANGES).times(sign));
  const strongest = prediction.horizons.find(
    (horizon) => horizon.confidence === prediction.signalConfidence,
  );
  const hasRoom = quantity.greaterThan(0) && Decimal.min(stopLoss, takeProfit).greaterThan(0);
  if (strongest === undefined || !hasRoom) {
    return null;
  }
  const expiresAtMs = Date.parse(openedAt) + strongest.horizonMinutes * 60_000;
  return {
    exchange: prediction.exchange,
    symbol: prediction.symbol,
    side,
    quantity: quantity.toFixed(),
    price: prediction.price,
    stopLossPrice: stopLoss.toFixed(instrument.priceDigits),
    takeProfitPrice: takeProfit.toFixed(instrument.priceDigits),
    leverage: LEVERAGE,
    confidence: prediction.signalConfidence,
    notes: { trailBy: trailBy.toFixed(), expiresAt: new Date(expiresAtMs).toISOString() },
  };
}
