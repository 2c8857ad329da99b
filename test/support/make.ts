/** Items of batches that are accepted as they are; each test changes what it is about. */

export type Item = Readonly<Record<string, unknown>>;

let made = 0;

/** A symbol that no other test of the file has. */
export function makeSymbol(): string {
  made += 1;
  return `T${made}USDT`;
}

/** To open 2 at 100, LONG. */
export function openItem(changes: Item = {}): Item {
  return {
    exchange: 'bybit',
    symbol: makeSymbol(),
    side: 'LONG',
    quantity: '2',
    entryPrice: '100',
    ...changes,
  };
}

export const PREDICTED_AT = '2026-01-15T12:00:00.000000Z';

export function predictionItem(changes: Item = {}): Item {
  return {
    exchange: 'bybit',
    symbol: makeSymbol(),
    modelVersion: 'test-1',
    predictedAt: PREDICTED_AT,
    signal: 'LONG',
    signalConfidence: 0.75,
    horizons: [horizonItem(15)],
    ...changes,
  };
}

export function horizonItem(horizonMinutes: number, changes: Item = {}): Item {
  return { horizonMinutes, direction: 'LONG', confidence: 0.6, ...changes };
}

export function candleItem(changes: Item = {}): Item {
  return {
    exchange: 'bybit',
    symbol: 'BTCUSDT',
    interval: '15m',
    openTime: '2026-01-15T12:00:00Z',
    open: '100',
    high: '110',
    low: '90',
    close: '105',
    volume: '12.5',
    ...changes,
  };
}

/** `count` items made by `item` of their places. */
export function many(count: number, item: (index: number) => Item): readonly Item[] {
  return Array.from({ length: count }, (_none, index) => item(index));
}
