/** The example operations: GraphiQL opens with them, and the tests run each. */
export interface ExampleTab {
  readonly name: string;
  readonly query: string;
  readonly variables: Readonly<Record<string, unknown>> | null;
}

export const EXAMPLE_TABS: readonly ExampleTab[] = [
  {
    name: 'Welcome',
    variables: null,
    query: `# Paste your key into the field at the bottom right, once for all tabs. The first key of this
# installation is in .tradewind/admin-key. A tab's Headers editor can name another key:
# {"authorization": "Bearer tw_…"}
query Welcome {
  viewer { actor role permissions accounts { id name tradingState headSeq } }
}
`,
  },
  {
    name: 'OpenPositions',
    variables: null,
    query: `# Open positions with what they are worth at the newest mark.
query OpenPositions {
  positions(account: "main", where: { status: [OPEN] }, first: 20) {
    totalCount
    nodes {
      id symbol side quantity entryPrice markPrice unrealizedPnl
      stopLossPrice takeProfitPrice strategy openedAt version
    }
    pageInfo { hasNextPage endCursor }
  }
}
`,
  },
  {
    name: 'WatchPositions',
    variables: null,
    query: `# Runs until it is stopped: first what is open, then each committed change and each new mark.
subscription WatchPositions {
  positionChanges(account: "main", where: { status: [OPEN] }, snapshot: true) {
    kind cursor seq previousSeq at operation actor
    position { id symbol side status quantity entryPrice markPrice unrealizedPnl version }
  }
}
`,
  },
  {
    name: 'WatchOrders',
    variables: null,
    query: `# Orders that are open, then each change of them; LEFT: it is open no more.
subscription WatchOrders {
  orderChanges(
    account: "main", where: { status: [PENDING, OPEN, PARTIALLY_FILLED] }, snapshot: true
  ) {
    kind cursor seq previousSeq at operation actor
    order { id symbol side type status price quantity filledQuantity version }
  }
}
`,
  },
  {
    name: 'WatchTrades',
    variables: null,
    query: `# Every trade as it is committed, with what it moved.
subscription WatchTrades {
  tradeExecutions(account: "main") {
    kind cursor seq previousSeq at actor
    trade { id symbol side price quantity realizedPnl position { id side quantity } }
  }
}
`,
  },
  {
    name: 'WatchPredictions',
    variables: null,
    query: `# One event a batch of predictions, with those that match.
subscription WatchPredictions {
  predictionsLogged(account: "main", where: { minConfidence: 0.6 }) {
    kind cursor seq previousSeq at
    predictions {
      id symbol modelVersion predictedAt signal signalConfidence
      horizons { horizonMinutes direction confidence }
    }
  }
}
`,
  },
  {
    name: 'WatchLog',
    variables: null,
    query: `# Everything that is committed: who, when, what it was before and what it is now.
subscription WatchLog {
  changes(account: "main") {
    kind cursor seq previousSeq
    change { at entity operation ids count actor operationName before after hash }
  }
}
`,
  },
  {
    name: 'OpenOne',
    variables: {
      input: {
        account: 'main',
        items: [
          {
            exchange: 'bybit',
            symbol: 'BTCUSDT',
            side: 'LONG',
            quantity: '0.25',
            entryPrice: '64000.5',
            stopLossPrice: '62500',
            takeProfitPrice: '68000',
            strategy: 'example',
          },
        ],
      },
    },
    query: `# One unit of work: every item is stored, or the answer says which was refused.
mutation OpenOne($input: OpenPositionsInput!) {
  openPositions(input: $input) {
    counts { created conflict rejected }
    results { index status position { id symbol side quantity version } error { code message path } }
  }
}
`,
  },
  {
    name: 'CloseOne',
    variables: {
      input: {
        account: 'main',
        items: [
          {
            exchange: 'bybit',
            symbol: 'BTCUSDT',
            side: 'LONG',
            price: '65000',
            fees: '8.9375',
            reason: 'example',
          },
        ],
      },
    },
    query: `mutation CloseOne($input: ClosePositionsInput!) {
  closePositions(input: $input) {
    results { status position { id status realizedPnl fees closedAt } error { code message } }
  }
}
`,
  },
  {
    name: 'OneUnitOfWork',
    variables: {
      orders: {
        account: 'main',
        items: [
          {
            clientOrderId: 'example-1',
            exchange: 'bybit',
            symbol: 'ETHUSDT',
            side: 'BUY',
            type: 'LIMIT',
            price: '3200',
            quantity: '0.5',
            strategy: 'example',
          },
        ],
      },
      fills: {
        account: 'main',
        items: [
          {
            clientOrderId: 'example-1',
            exchangeTradeId: 'example-1-1',
            price: '3199.5',
            quantity: '0.5',
            commission: '0.87986250',
            commissionAsset: 'USDT',
            executedAt: '2026-01-15T12:00:00.123456Z',
          },
        ],
      },
      stops: {
        account: 'main',
        items: [
          {
            exchange: 'bybit',
            symbol: 'ETHUSDT',
            side: 'LONG',
            stopLossPrice: '3100',
            takeProfitPrice: '3500',
          },
        ],
      },
    },
    query: `# The order, its fill and the stops of the position it opens: all of it commits, or nothing.
# The fields run one after the other, so the fill may name the order that was placed above it.
mutation OneUnitOfWork(
  $orders: PlaceOrdersInput!
  $fills: RecordTradesInput!
  $stops: UpdatePositionsInput!
) {
  placeOrders(input: $orders) {
    results { status order { id clientOrderId status } error { code message path } }
  }
  recordTrades(input: $fills) {
    results {
      status warnings
      trade { id price quantity realizedPnl }
      order { status filledQuantity averagePrice }
      position { id side quantity entryPrice fees }
      error { code message path }
    }
  }
  updatePositions(input: $stops) {
    results { status position { stopLossPrice takeProfitPrice version } error { code message path } }
  }
}
`,
  },
  {
    name: 'Orders',
    variables: null,
    query: `# Each relation is one statement, however many orders the page has; so is totalCount.
query Orders {
  orders(account: "main", where: { symbols: ["ETHUSDT"] }, first: 20) {
    totalCount
    nodes {
      id clientOrderId side status quantity filledQuantity averagePrice
      trades { id price quantity realizedPnl commission executedAt }
      position { id side status quantity entryPrice realizedPnl fees }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`,
  },
  {
    name: 'Exposure',
    variables: null,
    query: `# What is at stake now, at the newest marks; all of it is of one moment of the log.
query Exposure {
  exposure(account: "main") {
    openPositions longNotional shortNotional netNotional grossNotional
    unrealizedPnl realizedPnlToday fees asOfSeq
  }
}
`,
  },
  {
    name: 'Performance',
    variables: null,
    query: `# What closed positions have brought, in all and by strategy.
query Performance {
  all: tradingPerformance(account: "main") { ...figures }
  byStrategy: tradingPerformance(account: "main", groupBy: [STRATEGY, SIDE]) { ...figures }
}
fragment figures on TradingPerformance {
  strategy side closedPositions wins losses winRate grossProfit grossLoss netPnl fees
  profitFactor expectancy averageWin averageLoss best worst averageHoldSeconds
}
`,
  },
  {
    name: 'PnlSeries',
    variables: { bucket: { size: '1d', timeZone: 'Europe/Berlin', fill: 'ZERO' } },
    query: `# The course of realized profit, by days as the clock of the zone has them.
query PnlSeries($bucket: BucketInput!) {
  pnlSeries(account: "main", bucket: $bucket) {
    maxDrawdown maxDrawdownFrom maxDrawdownTo sharpe sortino
    points { at realizedPnl fees volume trades cumulativePnl drawdown }
  }
}
`,
  },
  {
    name: 'Predictions',
    variables: { symbols: ['BTCUSDT', 'ETHUSDT', 'SOLUSDT'] },
    query: `# What the models say now, with every horizon.
query Predictions($symbols: [String!]!) {
  latestPredictions(account: "main", symbols: $symbols) {
    symbol modelVersion predictedAt signal signalConfidence
    horizons { horizonMinutes direction confidence predictedReturn outcome { correct actualReturn } }
  }
}
`,
  },
  {
    name: 'Accuracy',
    variables: null,
    query: `# How good the models were, once evaluateOutcomes has compared them with candles: by model and
# horizon, with the 95 % interval of what was right, and what they said day by day.
query Accuracy {
  predictionAccuracy(account: "main", groupBy: [MODEL_VERSION, HORIZON], minSamples: 30) {
    modelVersion horizonMinutes total resolved pending lowSample
    accuracy { value low high samples }
    brier ece informationCoefficient mae bias
    precisionLong recallLong precisionShort recallShort
  }
  predictionStats(account: "main", bucket: { size: "1d" }) {
    at total long short neutral meanConfidence symbols perMinute
  }
}
`,
  },
  {
    name: 'Candles',
    variables: null,
    query: `query Candles {
  candles(exchange: "bybit", symbol: "BTCUSDT", interval: "15m", last: 20) {
    openTime open high low close volume
  }
}
`,
  },
  {
    name: 'AuditTrail',
    variables: null,
    query: `# Who changed what: the newest facts of the log are at its end.
query AuditTrail {
  changes(account: "main", where: { entities: ["position"] }, first: 20) {
    nodes { seq at entity operation ids actor requestId operationName before after hash }
    pageInfo { hasNextPage endCursor }
  }
}
`,
  },
  {
    name: 'Alerts',
    variables: null,
    query: `# What the server says of itself: its state, what is wrong, and a figure of the last minutes.
query Alerts {
  health { status reasons }
  alerts(first: 20) { rule severity state message firedAt resolvedAt acknowledgedBy }
  alertRules { name metric comparison threshold forSeconds severity enabled runbook }
  metricHistory(metric: "process.eventLoopMsP99", range: {}, stepSeconds: 60) { at value }
}
`,
  },
];
