import { describe, expect, it } from 'vitest';
import { fillOf, slip, splitQuantity } from '../../../../cli/demo/fills.ts';
import type { Instrument } from '../../../../cli/demo/instruments.ts';

const on: Instrument = {
  exchange: 'bybit',
  symbol: 'BTCUSDT',
  priceDigits: 1,
  quantityDigits: 3,
};
const execution = {
  clientOrderId: 'demo-1-2-BTCUSDT-in',
  part: 2,
  price: '96413.7',
  quantity: '0.017',
  executedAtMs: Date.UTC(2025, 0, 1),
};

describe('fillOf', () => {
  it('charges price · quantity · 0.00055 exactly, in the quote currency', () => {
    expect(fillOf(execution, on)).toEqual({
      clientOrderId: 'demo-1-2-BTCUSDT-in',
      exchangeTradeId: 'demo-1-2-BTCUSDT-in.2',
      price: '96413.7',
      quantity: '0.017',
      // 1639.0329 · 0.00055
      commission: '0.901468095',
      commissionAsset: 'USDT',
      executedAt: '2025-01-01T00:00:00.000Z',
    });
  });

  it('keeps every digit of amounts that need more than a double has', () => {
    const long = { ...execution, price: '0.00265857', quantity: '460100.17105' };
    expect(fillOf(long, on).commission).toBe('0.672764681461619175');
    expect(fillOf(long, { ...on, symbol: 'XYZBTC' })).not.toHaveProperty('commissionAsset');
  });
});

describe('splitQuantity', () => {
  it('makes two parts of whole steps that are the whole together', () => {
    expect(splitQuantity('0.017', 0.5, on)).toEqual(['0.008', '0.009']);
  });

  it('leaves whole what cannot be split', () => {
    expect(splitQuantity('0.001', 0.5, on)).toEqual(['0.001']);
    expect(splitQuantity('0.017', 1, on)).toEqual(['0.017']);
  });
});

describe('slip', () => {
  it('moves the price against its taker, by whole ticks', () => {
    expect(slip('100', 'BUY', 2, on)).toBe('100.2');
    expect(slip('100', 'SELL', 2, on)).toBe('99.8');
    expect(slip('100', 'SELL', 0, on)).toBe('100.0');
  });

  it('never reaches 0', () => {
    expect(slip('0.1', 'SELL', 2, on)).toBe('0.1');
  });
});
