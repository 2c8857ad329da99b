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

export type OrderSide = 'BUY' | 'SELL';

export interface PlaceOrderItem {
  readonly clientOrderId: string;
  readonly exchange: string;
  readonly symbol: string;
  readonly side: OrderSide;
  readonly type: 'MARKET' | 'LIMIT';
  readonly quantity: string;
  readonly price?: string;
  readonly timeInForce?: 'GTC' | 'IOC' | 'GTX';
  readonly stopLossPrice?: string;
  readonly takeProfitPrice?: string;
  readonly leverage?: string;
  readonly reduceOnly?: boolean;
  readonly strategy: string;
}

export interface UpdateOrderItem {
  readonly clientOrderId: string;
  readonly status: 'OPEN' | 'REJECTED' | 'EXPIRED';
  readonly exchangeOrderId?: string;
  readonly reason?: string;
}

export interface RecordTradeItem {
  readonly clientOrderId: string;
  readonly exchangeTradeId: string;
  readonly price: string;
  readonly quantity: string;
  readonly commission: string;
  /** Left out: the quote currency. */
  readonly commissionAsset?: string;
  readonly executedAt: string;
}

/** What the strategy must know about a position after a restart. */
export interface PositionNotes {
  /** Distance of the trailing stop from the price. */
  readonly trailBy: string;
  /** When the prediction it was opened for has run out. */
  readonly expiresAt: string;
}

/** Named by id, or the open one by exchange, symbol and side. */
export interface UpdatePositionItem {
  readonly id?: string;
  readonly exchange?: string;
  readonly symbol?: string;
  readonly side?: Side;
  readonly stopLossPrice?: string;
  readonly metadata?: PositionNotes;
}

export interface CreateSignalItem {
  readonly exchange: string;
  readonly symbol: string;
  readonly type: Side;
  readonly strength: number;
  readonly confidence: number;
  readonly strategy: string;
  readonly suggestedPrice: string;
  readonly suggestedStopLoss: string;
  readonly suggestedTakeProfit: string;
  readonly suggestedQuantity: string;
  readonly dedupeSeconds: number;
}

export interface MarkPriceItem {
  readonly exchange: string;
  readonly symbol: string;
  readonly price: string;
  readonly at: string;
}

export interface BalanceItem {
  readonly exchange: string;
  readonly asset: string;
  readonly free: string;
  readonly locked: string;
}
