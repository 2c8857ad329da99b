import { Decimal } from '../../datasources/decimal.ts';
import { fillOf, slip, splitQuantity } from './fills.ts';
import type {
  CreateSignalItem,
  OrderSide,
  PlaceOrderItem,
  RecordTradeItem,
  Side,
  UpdateOrderItem,
  UpdatePositionItem,
} from './inputs.ts';
import type { Instrument } from './instruments.ts';
import { CANDLE_MS, type MarketStep } from './market.ts';
import { createRandom, type Random } from './random.ts';
import { type Entry, type HeldPosition, type Intent, STRATEGY } from './strategy.ts';

/** What the server is told of a step: one unit of work, its fields in this order. */
export interface StepItems {
  /** By clientOrderId. */
  readonly cancels: readonly string[];
  readonly orders: readonly PlaceOrderItem[];
  readonly reports: readonly UpdateOrderItem[];
  readonly fills: readonly RecordTradeItem[];
  readonly positions: readonly UpdatePositionItem[];
  readonly signals: readonly CreateSignalItem[];
}

/** The exchange that the demo plays: it makes orders of intents, and fills of most orders. */
export interface Exchange {
  /**
   * What happens when the candles of a step have closed. Every name and number follows from the
   * seed, the step and the intents, so what is sent again is a replay.
   */
  trade(
    step: MarketStep,
    intents: readonly Intent[],
    held: ReadonlyMap<string, HeldPosition>,
  ): StepItems;
  /** Forgets the orders it is working on: they have been canceled. */
  forget(): void;
}

export interface ExchangeOptions {
  readonly seed: number;
  readonly instruments: ReadonlyMap<string, Instrument>;
}

/** Shares of the openings: at market; at a limit, at once; the others at a limit, bit by bit. */
const MARKET_SHARE = 0.55;
const LIMIT_SHARE = 0.25;
/** How often the rest of a limit order is filled in the next step; else it is canceled. */
const REST_FILLED_SHARE = 0.6;
const SPLIT_SHARE = 0.5;
const SLIP_TICKS_MAX = 2;
/** Steps in which a quote is placed that is not meant to be filled. */
const QUOTE_SHARE = 0.3;
const QUOTE_NOTIONAL = 500;
/** So far from the price, in mean ranges of a candle, that it is not reached while it stands. */
const QUOTE_RANGES = 12;
const QUOTE_STEPS = 3;
const QUOTE_KINDS = ['GTC', 'GTC', 'IOC', 'GTX'] as const;
/** Between the close of a candle and the fills that follow from it. */
const LATENCY_MS = 150;

/** An order that the exchange has not finished. */
type Working =
  | { readonly kind: 'QUOTE'; readonly timeInForce: 'GTC' | 'IOC' | 'GTX'; readonly steps: number }
  | {
      readonly kind: 'REST';
      readonly symbol: string;
      readonly side: Side;
      readonly price: string;
      readonly quantity: string;
      readonly isReached: boolean;
    };

type Sheet = { readonly [Field in keyof StepItems]: StepItems[Field][number][] };

interface StepContext {
  readonly step: MarketStep;
  readonly seed: number;
  readonly sheet: Sheet;
  readonly working: Map<string, Working>;
}

export function createExchange({ seed, instruments }: ExchangeOptions): Exchange {
  const working = new Map<string, Working>();
  return {
    forget: () => working.clear(),
    trade(step, intents, held) {
      const sheet: Sheet = {
        cancels: [],
        orders: [],
        reports: [],
        fills: [],
        positions: [],
        signals: [],
      };
      const context = { step, seed, sheet, working };
      const kept = new Map(held);
      for (const intent of intents) {
        if (intent.kind === 'CLOSE') kept.delete(intent.position.symbol);
      }
      goOn(context, kept, instruments);
      for (const intent of intents) {
        const { symbol } = intent.kind === 'OPEN' ? intent.entry : intent.position;
        const instrument = instruments.get(symbol);
        if (instrument === undefined) continue;
        switch (intent.kind) {
          case 'CLOSE':
            close(context, intent, instrument);
            break;
          case 'MOVE_STOP': {
            const { position, stopLossPrice } = intent;
            sheet.positions.push({ id: position.id, stopLossPrice });
            break;
          }
          case 'OPEN':
            open(context, intent.entry, instrument);
        }
      }
      quote(context, instruments);
      return sheet;
    },
  };
}

/** Moves on what earlier steps have left: quotes come to their ends, rests fill or are canceled. */
function goOn(
  { step, seed, sheet, working }: StepContext,
  held: ReadonlyMap<string, HeldPosition>,
  instruments: ReadonlyMap<string, Instrument>,
): void {
  for (const [clientOrderId, order] of [...working]) {
    if (order.kind === 'QUOTE' && order.timeInForce === 'GTC' && order.steps < QUOTE_STEPS) {
      if (order.steps === 1) sheet.reports.push(accepted(seed, clientOrderId));
      working.set(clientOrderId, { ...order, steps: order.steps + 1 });
      continue;
    }
    working.delete(clientOrderId);
    if (order.kind === 'QUOTE') {
      if (order.timeInForce === 'GTC') sheet.cancels.push(clientOrderId);
      else sheet.reports.push({ clientOrderId, ...ENDS[order.timeInForce] });
      continue;
    }
    const instrument = instruments.get(order.symbol);
    const isHeld = held.get(order.symbol)?.side === order.side;
    if (instrument === undefined || !isHeld || !order.isReached) {
      sheet.cancels.push(clientOrderId);
      continue;
    }
    const { price, quantity } = order;
    const executedAtMs = step.openTimeMs + CANDLE_MS / 2;
    sheet.fills.push(fillOf({ clientOrderId, part: 2, price, quantity, executedAtMs }, instrument));
  }
}

const ENDS = {
  IOC: { status: 'EXPIRED', reason: 'NOTHING_TO_TAKE' },
  GTX: { status: 'REJECTED', reason: 'POST_ONLY_WOULD_TAKE' },
} as const;

function open({ step, seed, sheet, working }: StepContext, entry: Entry, on: Instrument): void {
  const { confidence, leverage, notes, price, quantity, side, ...target } = entry;
  const { exchange, symbol, stopLossPrice, takeProfitPrice } = target;
  const clientOrderId = nameOrder(seed, step, symbol, 'in');
  const random = createRandom(seed, clientOrderId);
  const style = random.next();
  const isMarket = style < MARKET_SHARE;
  const orderSide = side === 'LONG' ? 'BUY' : 'SELL';
  const limit = new Decimal(price).toFixed(on.priceDigits);
  sheet.signals.push({
    exchange,
    symbol,
    type: side,
    // What is left of the confidence once chance is taken off.
    strength: Math.round(Math.max(0, 2 * confidence - 1) * 1e6) / 1e6,
    confidence,
    strategy: STRATEGY,
    suggestedPrice: limit,
    suggestedStopLoss: stopLossPrice,
    suggestedTakeProfit: takeProfitPrice,
    suggestedQuantity: quantity,
    dedupeSeconds: 0,
  });
  sheet.orders.push({
    ...target,
    clientOrderId,
    side: orderSide,
    type: isMarket ? 'MARKET' : 'LIMIT',
    quantity,
    ...(isMarket ? {} : { price: limit }),
    leverage,
    strategy: STRATEGY,
  });
  sheet.reports.push(accepted(seed, clientOrderId));
  sheet.positions.push({ exchange, symbol, side, metadata: notes });
  if (isMarket) {
    fillAtMarket(sheet, { clientOrderId, side: orderSide, price, quantity }, random, step, on);
    return;
  }
  const [first = quantity, rest] = splitQuantity(quantity, 0.3 + 0.4 * random.next(), on);
  const part = { clientOrderId, price: limit, executedAtMs: filledAtMs(step, 1) };
  sheet.fills.push(fillOf({ ...part, part: 1, quantity: first }, on));
  if (rest === undefined) return;
  if (style < MARKET_SHARE + LIMIT_SHARE) {
    const executedAtMs = filledAtMs(step, 2);
    sheet.fills.push(fillOf({ ...part, part: 2, quantity: rest, executedAtMs }, on));
    return;
  }
  const isReached = random.next() < REST_FILLED_SHARE;
  working.set(clientOrderId, {
    kind: 'REST',
    symbol,
    side,
    price: limit,
    quantity: rest,
    isReached,
  });
}

function close(
  { step, seed, sheet }: StepContext,
  { position, price, reason }: Extract<Intent, { kind: 'CLOSE' }>,
  on: Instrument,
): void {
  const { exchange, symbol, quantity } = position;
  const side = position.side === 'LONG' ? 'SELL' : 'BUY';
  const clientOrderId = nameOrder(seed, step, symbol, 'out');
  sheet.orders.push({
    clientOrderId,
    exchange,
    symbol,
    side,
    type: 'MARKET',
    quantity,
    reduceOnly: true,
    strategy: STRATEGY,
  });
  // The reason of the order becomes that of the closed position.
  sheet.reports.push({ ...accepted(seed, clientOrderId), reason });
  const random = createRandom(seed, clientOrderId);
  fillAtMarket(sheet, { clientOrderId, side, price, quantity }, random, step, on);
}

/** One fill or two, each some ticks to the worse, the second not better than the first. */
function fillAtMarket(
  sheet: Sheet,
  order: {
    readonly clientOrderId: string;
    readonly side: OrderSide;
    readonly price: string;
    readonly quantity: string;
  },
  random: Random,
  step: MarketStep,
  on: Instrument,
): void {
  const { clientOrderId, side, price, quantity } = order;
  const isSplit = random.next() < SPLIT_SHARE;
  const share = 0.3 + 0.4 * random.next();
  const parts = isSplit ? splitQuantity(quantity, share, on) : [quantity];
  let ticks = 0;
  for (const [index, each] of parts.entries()) {
    ticks += Math.floor(random.next() * (SLIP_TICKS_MAX + 1));
    const execution = {
      clientOrderId,
      part: index + 1,
      price: slip(price, side, Math.min(ticks, SLIP_TICKS_MAX), on),
      quantity: each,
      executedAtMs: filledAtMs(step, index + 1),
    };
    sheet.fills.push(fillOf(execution, on));
  }
}

/** Now and then an order that is not meant to be filled: it is canceled, expires or is refused. */
function quote(
  { step, seed, sheet, working }: StepContext,
  instruments: ReadonlyMap<string, Instrument>,
): void {
  const random = createRandom(seed, `quote ${step.openTimeMs}`);
  const isWanted = random.next() < QUOTE_SHARE;
  const index = Math.floor(random.next() * step.candles.length);
  const timeInForce = QUOTE_KINDS[Math.floor(random.next() * QUOTE_KINDS.length)] ?? 'GTC';
  const side = random.next() < 0.5 ? 'BUY' : 'SELL';
  const prediction = step.predictions[index];
  const instrument = instruments.get(prediction?.symbol ?? '');
  if (!isWanted || prediction === undefined || instrument === undefined) return;
  const { exchange, symbol } = instrument;
  const { price: last, indicators } = prediction;
  // An order that may only make and would take is refused; the others stand out of reach.
  const ranges = timeInForce === 'GTX' ? -0.5 : QUOTE_RANGES;
  const distance = new Decimal(last).times(indicators.rangeRatio).times(ranges);
  const price = side === 'BUY' ? distance.negated().plus(last) : distance.plus(last);
  const quantity = new Decimal(QUOTE_NOTIONAL)
    .div(last)
    .toDecimalPlaces(instrument.quantityDigits, Decimal.ROUND_UP);
  const onGrid = price.toDecimalPlaces(instrument.priceDigits);
  if (onGrid.lte(0)) return;
  const clientOrderId = nameOrder(seed, step, symbol, 'quote');
  sheet.orders.push({
    clientOrderId,
    exchange,
    symbol,
    side,
    type: 'LIMIT',
    quantity: quantity.toFixed(),
    price: onGrid.toFixed(instrument.priceDigits),
    timeInForce,
    strategy: STRATEGY,
  });
  working.set(clientOrderId, { kind: 'QUOTE', timeInForce, steps: 1 });
}

function accepted(seed: number, clientOrderId: string): UpdateOrderItem {
  const random = createRandom(seed, `exchange ${clientOrderId}`);
  const word = () => Math.floor(random.next() * 2 ** 32).toString(16);
  const exchangeOrderId = `${word().padStart(8, '0')}${word().padStart(8, '0')}`;
  return { clientOrderId, status: 'OPEN', exchangeOrderId };
}

/** Unique as long as a seed trades a candle of a symbol once; up to 64 characters. */
function nameOrder(
  seed: number,
  step: MarketStep,
  symbol: string,
  role: 'in' | 'out' | 'quote',
): string {
  return `${STRATEGY}-${seed}-${Math.floor(step.openTimeMs / CANDLE_MS)}-${symbol}-${role}`;
}

function filledAtMs(step: MarketStep, part: number): number {
  return step.openTimeMs + CANDLE_MS + LATENCY_MS * part;
}
