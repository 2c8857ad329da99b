import { Decimal } from 'decimal.js';
import { describe, expect, it } from 'vitest';
import { createWallet } from '../../../../cli/demo/wallet.ts';

describe('createWallet', () => {
  it('has what it had with profits and without fees, part of it locked as margin', () => {
    const totals = { realizedPnl: new Decimal('12.5'), fees: new Decimal('2.25') };
    const position = {
      id: 'position.main.1',
      exchange: 'bybit',
      symbol: 'BTCUSDT',
      side: 'LONG',
      quantity: '0.5',
      entryPrice: '1000',
      stopLossPrice: '900',
      takeProfitPrice: '1100',
      leverage: '2',
      stopTriggeredKind: null,
      trailBy: '100',
      expiresAt: '2025-01-01T00:00:00.000Z',
      version: 1,
    } as const;
    expect(createWallet('2000').balance([position], totals)).toEqual({
      exchange: 'bybit',
      asset: 'USDT',
      free: '1760.25',
      locked: '250',
    });
  });
});
