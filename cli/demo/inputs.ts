/** Inputs of the public API as the demo sends them; names and meaning are those of the schema. */

export type Direction = 'LONG' | 'SHORT' | 'NEUTRAL';
export type Side = 'LONG' | 'SHORT';

export interface CandleItem {
  readonly exchange: string;
  readonly symbol: string;
  readonly interval: string;
  readonly openTime: string;
  readonly open: string;
  readonly high: string;
  readonly low: string;
  readonly close: string;
  readonly volume: string;
}

export interface PredictionHorizonItem {
  readonly horizonMinutes: number;
  readonly direction: Direction;
  readonly confidence: number;
  readonly probabilityLong: number;
  readonly probabilityShort: number;
  readonly probabilityNeutral: number;
  readonly predictedReturn: number;
}

export interface LogPredictionItem {
  readonly exchange: string;
  readonly symbol: string;
  readonly interval: string;
  readonly modelVersion: string;
  readonly predictedAt: string;
  readonly price: string;
  readonly signal: Direction;
  readonly signalConfidence: number;
  readonly riskScore: number;
  readonly inferenceTimeMs: number;
  readonly features: readonly number[];
  readonly indicators: Indicators;
  readonly horizons: readonly PredictionHorizonItem[];
}

/** Ratios only; an indicator is a view of the market, not an amount. */
export interface Indicators {
  /** Relative strength, 0 to 100. */
  readonly rsi: number;
  /** Mean range of a candle as a share of the price. */
  readonly rangeRatio: number;
  /** Distance of the fast mean from the slow one as a share of the price. */
  readonly trend: number;
}

export interface OpenPositionItem {
  readonly clientId: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: Side;
  readonly quantity: string;
  readonly entryPrice: string;
  readonly stopLossPrice: string;
  readonly takeProfitPrice: string;
  readonly leverage: string;
  readonly strategy: string;
  readonly metadata: PositionNotes;
  readonly openedAt: string;
}

/** What the strategy must know about a position after a restart. */
export interface PositionNotes {
  /** Distance of the trailing stop from the price. */
  readonly trailBy: string;
  /** When the prediction it was opened for has run out. */
  readonly expiresAt: string;
}

export interface UpdatePositionItem {
  readonly id: string;
  readonly stopLossPrice: string;
}

export interface ClosePositionItem {
  readonly id: string;
  readonly price: string;
  readonly fees: string;
  readonly reason: string;
  readonly closedAt: string;
}
