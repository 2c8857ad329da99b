import { Decimal } from 'decimal.js';
import { describe, expect, it } from 'vitest';
import type { CandleItem, LogPredictionItem } from '../../../../cli/demo/inputs.ts';
import { MODEL_INSTRUMENTS } from '../../../../cli/demo/instruments.ts';
import { generateFrames, type MarketStep, predictFrames } from '../../../../cli/demo/market.ts';
import { decide, type HeldPosition, type Intent } from '../../../../cli/demo/strategy.ts';

const openTimeMs = Date.UTC(2025, 0, 1);
const instruments = new Map(MODEL_INSTRUMENTS.map((each) => [each.symbol, each]));

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
const short: HeldPosition = {
  ...held,
  side: 'SHORT',
  stopLossPrice: '101000.0',
  takeProfitPrice: '98400.0',
};

const calm = { open: '100000.0', high: '100100.0', low: '99900.0', close: '100000.0' };

describe('decide', () => {
  it('leaves a position alone while nothing has happened', () => {
    expect(run(held, calm)).toEqual([]);
    expect(run(short, calm)).toEqual([]);
  });

  it('closes at a stop that a mark has crossed', () => {
    const [intent] = run({ ...held, stopTriggeredKind: 'STOP_LOSS' }, calm);
    const position = { ...held, stopTriggeredKind: 'STOP_LOSS' };
    expect(intent).toEqual({ kind: 'CLOSE', position, price: '99000', reason: 'STOP_LOSS' });
    expect(run({ ...short, stopTriggeredKind: 'STOP_LOSS' }, calm)).toMatchObject([
      { kind: 'CLOSE', price: '101000', reason: 'STOP_LOSS' },
    ]);
  });

  it('leaves a stop to the marks, whatever the candle says', () => {
    expect(run(held, { ...calm, low: '98000.0' })).toEqual([]);
  });

  it('closes at the open when the candle opens beyond the stop', () => {
    const candle = { open: '98000.0', high: '98500.0', low: '97000.0', close: '98200.0' };
    expect(run({ ...held, stopTriggeredKind: 'STOP_LOSS' }, candle)).toMatchObject([
      { price: '98000', reason: 'STOP_LOSS' },
    ]);
  });

  it('closes at a reached target', () => {
    const target = { stopTriggeredKind: 'TAKE_PROFIT' } as const;
    expect(run({ ...held, ...target }, calm)).toMatchObject([
      { price: '101600', reason: 'TAKE_PROFIT' },
    ]);
    expect(run({ ...short, ...target }, calm)).toMatchObject([
      { price: '98400', reason: 'TAKE_PROFIT' },
    ]);
  });

  it('closes when the horizon of its prediction is over', () => {
    const due = { ...held, expiresAt: '2025-01-01T00:15:00.000Z' };
    expect(run(due, calm)).toMatchObject([{ price: '100000.0', reason: 'HORIZON_REACHED' }]);
  });

  it('closes on a confident signal against it, and opens nothing in the same step', () => {
    const intents = run(held, calm, { signal: 'SHORT', signalConfidence: 0.7 });
    expect(intents).toMatchObject([{ kind: 'CLOSE', reason: 'SIGNAL_REVERSED' }]);
    expect(run(held, calm, { signal: 'SHORT', signalConfidence: 0.5 })).toEqual([]);
  });

  it('moves the stop after the price and never back', () => {
    const risen = { ...calm, high: '100500.0', close: '100400.0' };
    expect(run(held, risen)).toEqual([
      { kind: 'MOVE_STOP', position: held, stopLossPrice: '99400.0' },
    ]);
    expect(run({ ...held, stopLossPrice: '99400.0' }, calm)).toEqual([]);
    const fallen = { ...calm, low: '99500.0', close: '99600.0' };
    expect(run(short, fallen)).toMatchObject([{ stopLossPrice: '100600.0' }]);
  });

  it('moves the stop beyond the entry, which locks in a profit', () => {
    const risen = { ...calm, high: '101500.0', close: '101450.0' };
    expect(run(held, risen)).toMatchObject([{ stopLossPrice: '100450.0' }]);
  });

  it('opens a confident signal with stops on the right sides and a quantity in steps', () => {
    const [intent, ...others] = run(null, calm, { signal: 'LONG', signalConfidence: 0.7 });
    expect(others).toEqual([]);
    expect(intent).toEqual({
      kind: 'OPEN',
      entry: {
        exchange: 'bybit',
        symbol: 'BTCUSDT',
        side: 'LONG',
        quantity: '0.017',
        price: '100000.0',
        stopLossPrice: '99000.0',
        takeProfitPrice: '101600.0',
        leverage: '2',
        confidence: 0.7,
        notes: { trailBy: '1000', expiresAt: '2025-01-01T01:15:00.000Z' },
      },
    });
    const [opposite] = run(null, calm, { signal: 'SHORT', signalConfidence: 0.7 });
    expect(opposite).toMatchObject({
      entry: { side: 'SHORT', stopLossPrice: '101000.0', takeProfitPrice: '98400.0' },
    });
  });

  it('opens nothing on a neutral or a weak signal', () => {
    expect(run(null, calm, { signal: 'NEUTRAL', signalConfidence: 0.72 })).toEqual([]);
    expect(run(null, calm, { signal: 'LONG', signalConfidence: 0.6 })).toEqual([]);
  });

  it('holds at most eight positions, the most confident first', () => {
    const prices = { open: '100', high: '100.1', low: '99.9', close: '100' };
    const own = { ...held, entryPrice: '100', stopLossPrice: '99', takeProfitPrice: '102' };
    const step = stepOf(
      MODEL_INSTRUMENTS.map((each, index) => ({
        symbol: each.symbol,
        prices,
        prediction: { signal: 'LONG' as const, signalConfidence: 0.65 + index / 1_000 },
      })),
    );
    const opens = [...decide(step, new Map(), instruments)];
    const symbols = MODEL_INSTRUMENTS.map((each) => each.symbol).toReversed();
    expect(opens.map(symbolOf)).toEqual(symbols.slice(0, 8));
    expect([...decide(step, new Map([['BTCUSDT', own]]), instruments)]).toHaveLength(7);
  });

  it('opens nothing where the price leaves no room for a stop', () => {
    const prices = { open: '0.1', high: '0.1', low: '0.1', close: '0.1' };
    expect(run(null, prices, { signal: 'LONG', signalConfidence: 0.7 })).toEqual([]);
  });

  it('keeps every stop of a long run on its side and every amount exact', () => {
    let steps = 0;
    for (const step of predictFrames(generateFrames({ seed: 3, startMs: openTimeMs }), 3)) {
      if (steps === 300) break;
      steps += 1;
      for (const intent of decide(step, new Map(), instruments)) {
        if (intent.kind !== 'OPEN') throw new Error('nothing is held');
        const { side, price, stopLossPrice, takeProfitPrice, quantity } = intent.entry;
        const [low, high] =
          side === 'LONG' ? [stopLossPrice, takeProfitPrice] : [takeProfitPrice, stopLossPrice];
        expect(new Decimal(low).lt(price) && new Decimal(high).gt(price)).toBe(true);
        expect(quantity).toMatch(/^\d+(\.\d{1,3})?$/);
      }
    }
    expect(steps).toBe(300);
  });
});

type Prices = Pick<CandleItem, 'open' | 'high' | 'low' | 'close'>;
type Signal = Pick<LogPredictionItem, 'signal' | 'signalConfidence'>;

/** What is decided for BTCUSDT alone. */
function run(
  position: HeldPosition | null,
  prices: Prices,
  prediction: Signal = { signal: 'NEUTRAL', signalConfidence: 0.4 },
): Intent[] {
  const book = new Map(position === null ? [] : [[position.symbol, position]]);
  return [...decide(stepOf([{ symbol: 'BTCUSDT', prices, prediction }]), book, instruments)];
}

function stepOf(
  parts: readonly { symbol: string; prices: Prices; prediction: Signal }[],
): MarketStep {
  const openTime = new Date(openTimeMs).toISOString();
  const common = { exchange: 'bybit', interval: '15m' };
  return {
    openTimeMs,
    candles: parts.map(({ symbol, prices }) => ({
      ...common,
      symbol,
      openTime,
      ...prices,
      volume: '1',
    })),
    predictions: parts.map(({ symbol, prices, prediction }) => ({
      ...common,
      ...prediction,
      symbol,
      modelVersion: 'test',
      predictedAt: new Date(openTimeMs + 900_000).toISOString(),
      price: prices.close,
      riskScore: 0.1,
      inferenceTimeMs: 1,
      features: [],
      indicators: { rsi: 50, rangeRatio: 0.004, trend: 0 },
      horizons: [
        {
          horizonMinutes: 60,
          direction: prediction.signal,
          confidence: prediction.signalConfidence,
          probabilityLong: 0,
          probabilityShort: 0,
          probabilityNeutral: 0,
          predictedReturn: 0,
        },
      ],
    })),
  };
}

function symbolOf(intent: Intent): string {
  return intent.kind === 'OPEN' ? intent.entry.symbol : intent.kind;
}
