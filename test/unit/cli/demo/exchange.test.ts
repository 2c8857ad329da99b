import { Decimal } from 'decimal.js';
import { describe, expect, it } from 'vitest';
import { createExchange, type StepItems } from '../../../../cli/demo/exchange.ts';
import { MODEL_INSTRUMENTS } from '../../../../cli/demo/instruments.ts';
import { generateFrames, type MarketStep, predictFrames } from '../../../../cli/demo/market.ts';
import { decide, type HeldPosition, type Intent } from '../../../../cli/demo/strategy.ts';

const startMs = Date.UTC(2025, 0, 1);
const instruments = new Map(MODEL_INSTRUMENTS.map((each) => [each.symbol, each]));
const nothing: ReadonlyMap<string, HeldPosition> = new Map();
const steps = takeSteps(120);

describe('trade', () => {
  it('gives the same names and numbers for the same seed, step and intents', () => {
    expect(trade(7)).toEqual(trade(7));
    expect(trade(8)).not.toEqual(trade(7));
  });

  it('names each order once, within 64 characters, and each fill once', () => {
    const orders = trade(4_294_967_295).flatMap((items) => items.orders);
    const names = orders.map(({ clientOrderId }) => clientOrderId);
    expect(new Set(names).size).toBe(names.length);
    expect(Math.max(...names.map((name) => name.length))).toBeLessThanOrEqual(64);
    const fills = trade(1).flatMap((items) => items.fills);
    expect(new Set(fills.map((fill) => fill.exchangeTradeId)).size).toBe(fills.length);
  });

  it('charges each fill exactly and keeps it on the grid of its instrument', () => {
    for (const { orders, fills } of trade(1)) {
      for (const fill of fills) {
        const fee = new Decimal(fill.price).times(fill.quantity).times('0.00055');
        expect(fee.eq(fill.commission)).toBe(true);
        const order = orders.find((each) => each.clientOrderId === fill.clientOrderId);
        const on = instruments.get(order?.symbol ?? '');
        if (on === undefined) continue;
        expect(new Decimal(fill.price).decimalPlaces()).toBeLessThanOrEqual(on.priceDigits);
        expect(new Decimal(fill.quantity).decimalPlaces()).toBeLessThanOrEqual(on.quantityDigits);
      }
    }
  });

  it('fills no order beyond its quantity, and orders at market wholly at once', () => {
    const all = trade(1);
    for (const { orders, fills } of all) {
      for (const { clientOrderId, type, quantity } of orders) {
        const own = (type === 'MARKET' ? fills : all.flatMap((items) => items.fills)).filter(
          (fill) => fill.clientOrderId === clientOrderId,
        );
        const filled = own.reduce((sum, fill) => sum.plus(fill.quantity), new Decimal(0));
        expect(type === 'MARKET' ? filled.eq(quantity) : filled.lte(quantity)).toBe(true);
      }
    }
  });

  it('opens with stops, notes and a signal beside the order', () => {
    const { step, entry } = firstEntry();
    const items = createExchange({ seed: 1, instruments }).trade(
      step,
      [{ kind: 'OPEN', entry }],
      nothing,
    );
    const { exchange, symbol, side, stopLossPrice, takeProfitPrice, quantity } = entry;
    const own = items.orders.filter((order) => order.clientOrderId.endsWith('-in'));
    expect(own).toMatchObject([
      { exchange, symbol, quantity, stopLossPrice, takeProfitPrice, strategy: 'demo' },
    ]);
    expect(own[0]?.side).toBe(side === 'LONG' ? 'BUY' : 'SELL');
    expect(items.positions).toEqual([{ exchange, symbol, side, metadata: entry.notes }]);
    expect(items.signals).toMatchObject([{ exchange, symbol, type: side, strategy: 'demo' }]);
  });

  it('closes the whole position at market by an order that only reduces, and says why', () => {
    const intent = { kind: 'CLOSE', position: held, price: '99000', reason: 'STOP_LOSS' } as const;
    const { orders, reports, fills } = createExchange({ seed: 1, instruments }).trade(
      firstStep(),
      [intent],
      new Map([[held.symbol, held]]),
    );
    const [order] = orders.filter((each) => each.clientOrderId.endsWith('-out'));
    expect(order).toMatchObject({
      side: 'SELL',
      type: 'MARKET',
      quantity: held.quantity,
      reduceOnly: true,
    });
    expect(reports).toMatchObject([{ clientOrderId: order?.clientOrderId, reason: 'STOP_LOSS' }]);
    for (const { price } of fills) {
      expect(new Decimal(99_000).minus(price).div('0.1').toNumber()).toBeOneOf([0, 1, 2]);
    }
  });

  it('moves a stop by the id of the position', () => {
    const intent = { kind: 'MOVE_STOP', position: held, stopLossPrice: '99400.0' } as const;
    const { positions } = createExchange({ seed: 1, instruments }).trade(
      firstStep(),
      [intent],
      nothing,
    );
    expect(positions).toEqual([{ id: held.id, stopLossPrice: '99400.0' }]);
  });

  it('shows every way in which an order may end', () => {
    const all = trade(1);
    const reported = all.flatMap((items) => items.reports.map(({ status }) => status));
    expect(new Set(reported)).toEqual(new Set(['OPEN', 'EXPIRED', 'REJECTED']));
    expect(all.flatMap((items) => items.cancels).length).toBeGreaterThan(0);
  });

  it('fills the rest of an order only while its position is held', () => {
    const rests = (isHeld: boolean) =>
      trade(1, isHeld).flatMap((items) => {
        const placed = new Set(items.orders.map(({ clientOrderId }) => clientOrderId));
        return items.fills.filter(({ clientOrderId }) => !placed.has(clientOrderId));
      });
    expect(rests(true).length).toBeGreaterThan(0);
    expect(rests(false)).toEqual([]);
  });

  it('forgets what it was working on', () => {
    const exchange = createExchange({ seed: 1, instruments });
    for (const step of steps) exchange.trade(step, [], nothing);
    exchange.forget();
    const { cancels, reports, fills } = exchange.trade(firstStep(), [], nothing);
    expect([cancels, reports, fills]).toEqual([[], [], []]);
  });
});

const held: HeldPosition = {
  id: 'position.main.1',
  exchange: 'bybit',
  symbol: 'BTCUSDT',
  side: 'LONG',
  quantity: '0.017',
  entryPrice: '100000.0',
  stopLossPrice: '99000.0',
  takeProfitPrice: '101600.0',
  trailBy: '1000.0',
  expiresAt: '2025-01-01T12:00:00.000Z',
  leverage: '2',
  stopTriggeredKind: null,
  version: 1,
};

/** What the exchange makes of the first steps of a market in which everything is opened anew. */
function trade(seed: number, isHeld = false): StepItems[] {
  const exchange = createExchange({ seed, instruments });
  let last: ReadonlyMap<string, HeldPosition> = nothing;
  return steps.map((step) => {
    const intents = [...decide(step, nothing, instruments)];
    const items = exchange.trade(step, intents, isHeld ? last : nothing);
    last = new Map(intents.flatMap(heldAfter));
    return items;
  });
}

function heldAfter(intent: Intent): [string, HeldPosition][] {
  if (intent.kind !== 'OPEN') return [];
  const { symbol, side, quantity } = intent.entry;
  return [[symbol, { ...held, symbol, side, quantity }]];
}

function firstStep(): MarketStep {
  const [step] = steps;
  if (step === undefined) throw new Error('there are no steps');
  return step;
}

function firstEntry() {
  for (const step of steps) {
    for (const intent of decide(step, nothing, instruments)) {
      if (intent.kind === 'OPEN') return { step, entry: intent.entry };
    }
  }
  throw new Error('nothing is opened');
}

function takeSteps(count: number): MarketStep[] {
  return [...predictFrames(generateFrames({ seed: 3, startMs }), 3).take(count)];
}
