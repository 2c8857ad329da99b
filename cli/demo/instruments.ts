import { Decimal } from 'decimal.js';

/** What is traded: prices are multiples of 10^-priceDigits, quantities of 10^-quantityDigits. */
export interface Instrument {
  readonly exchange: string;
  readonly symbol: string;
  readonly priceDigits: number;
  readonly quantityDigits: number;
}

/** An instrument of the model. The numbers are the model's parameters, not amounts of money. */
export interface ModelInstrument extends Instrument {
  /** Where its price starts, in ticks. */
  readonly startTicks: number;
  /** Deviation of the return of one candle in a normal regime. */
  readonly volatility: number;
  /** Share of the market's move in its own, 0 to 1. */
  readonly beta: number;
  /** Mean volume of a candle, in steps of the quantity. */
  readonly volumeSteps: number;
}

export const MODEL_INSTRUMENTS: readonly ModelInstrument[] = [
  model('BTCUSDT', 1, 3, 964_130, 0.0025, 0.9, 620_000),
  model('ETHUSDT', 2, 2, 342_115, 0.003, 0.85, 910_000),
  model('SOLUSDT', 2, 1, 18_240, 0.0038, 0.78, 640_000),
  model('BNBUSDT', 1, 2, 6_421, 0.0027, 0.72, 120_000),
  model('XRPUSDT', 4, 1, 22_180, 0.0036, 0.66, 9_400_000),
  model('ADAUSDT', 4, 0, 8_934, 0.0038, 0.7, 3_100_000),
  model('DOGEUSDT', 5, 0, 31_250, 0.0042, 0.68, 21_000_000),
  model('AVAXUSDT', 3, 1, 38_415, 0.004, 0.72, 310_000),
  model('LINKUSDT', 3, 1, 21_870, 0.0038, 0.7, 420_000),
  model('DOTUSDT', 4, 1, 71_630, 0.0036, 0.71, 730_000),
  model('LTCUSDT', 2, 1, 10_455, 0.0033, 0.69, 260_000),
];

function model(
  symbol: string,
  priceDigits: number,
  quantityDigits: number,
  startTicks: number,
  volatility: number,
  beta: number,
  volumeSteps: number,
): ModelInstrument {
  return {
    exchange: 'bybit',
    symbol,
    priceDigits,
    quantityDigits,
    startTicks,
    volatility,
    beta,
    volumeSteps,
  };
}

/** Whole steps of 10^-digits as an exact decimal: (1234, 2) is "12.34". */
export function formatSteps(steps: number, digits: number): string {
  const text = String(steps).padStart(digits + 1, '0');
  return digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

/** The smallest step of a price. */
export function tickOf({ priceDigits }: Instrument): Decimal {
  return new Decimal(10).pow(-priceDigits);
}
