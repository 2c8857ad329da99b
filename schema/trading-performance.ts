import type { TradingPerformance as TradingPerformanceRecord } from '../datasources/trading-performance.ts';
import { tradingPerformance } from '../resolvers/trading-performance.ts';
import { builder } from './builder.ts';
import { PositionSide } from './enums.ts';
import { TradeWhere } from './trade.ts';

const PerformanceDimension = builder.enumType('PerformanceDimension', {
  values: {
    SYMBOL: {},
    STRATEGY: { description: 'The position’s: of the order, or the item, that opened it.' },
    SIDE: { description: 'LONG or SHORT.' },
    DAY: { description: 'The UTC day of the close.' },
  } as const,
});

const TradingPerformance = builder.objectRef<TradingPerformanceRecord>('TradingPerformance');

TradingPerformance.implement({
  description:
    'What closed positions have brought, in quote currency. The result of a position is its net ' +
    'profit: realizedPnl − fees over all its fills, partial closes and the closing half of a flip ' +
    'with them. It is won above 0, lost below 0. The terms are those of trading reports; see Robert ' +
    'Pardo, The Evaluation and Optimization of Trading Strategies (2008). Quotients are rounded ' +
    'half-even to 18 digits.',
  fields: (t) => ({
    symbol: t.exposeString('symbol', { nullable: true, description: 'Null: not grouped by it.' }),
    strategy: t.exposeString('strategy', {
      nullable: true,
      description: 'Null: not grouped by it, or the positions have none.',
    }),
    side: t.expose('side', { type: PositionSide, nullable: true }),
    day: t.expose('day', {
      type: 'DateTime',
      nullable: true,
      description: 'Midnight UTC, when the day begins.',
    }),
    closedPositions: t.exposeInt('closedPositions', { description: 'CLOSED or LIQUIDATED.' }),
    wins: t.exposeInt('wins', { description: 'With a result above 0.' }),
    losses: t.exposeInt('losses', { description: 'With a result below 0; 0 is neither.' }),
    winRate: t.exposeFloat('winRate', {
      nullable: true,
      description: 'wins / closedPositions; null without positions.',
    }),
    grossProfit: t.expose('grossProfit', {
      type: 'Decimal',
      description: 'The sum of the results above 0.',
    }),
    grossLoss: t.expose('grossLoss', {
      type: 'Decimal',
      description: 'The sum of the results below 0, as a positive amount.',
    }),
    netPnl: t.expose('netPnl', {
      type: 'Decimal',
      description: 'grossProfit − grossLoss: the realized profit less the fees.',
    }),
    fees: t.expose('fees', {
      type: 'Decimal',
      description: 'What the positions have cost, in quote currency; netPnl has them taken off.',
    }),
    profitFactor: t.expose('profitFactor', {
      type: 'Decimal',
      nullable: true,
      description: 'grossProfit / grossLoss; null without losses.',
    }),
    expectancy: t.expose('expectancy', {
      type: 'Decimal',
      nullable: true,
      description:
        'netPnl / closedPositions: the mean result of a position; null without positions. Van K. ' +
        'Tharp, Trade Your Way to Financial Freedom (1998), in currency.',
    }),
    averageWin: t.expose('averageWin', {
      type: 'Decimal',
      nullable: true,
      description: 'grossProfit / wins; null without wins.',
    }),
    averageLoss: t.expose('averageLoss', {
      type: 'Decimal',
      nullable: true,
      description: 'grossLoss / losses, a positive amount; null without losses.',
    }),
    best: t.expose('best', {
      type: 'Decimal',
      nullable: true,
      description: 'The highest result, which may be below 0.',
    }),
    worst: t.expose('worst', { type: 'Decimal', nullable: true, description: 'The lowest.' }),
    averageHoldSeconds: t.exposeFloat('averageHoldSeconds', {
      nullable: true,
      description: 'The mean of closedAt − openedAt; null without positions.',
    }),
  }),
});

builder.queryField('tradingPerformance', (t) =>
  t.field({
    description:
      'Closed positions by the dimensions, in their order, a missing strategy last: up to 10,000 ' +
      'rows; without dimensions one row, of zeros when nothing was closed. A position counts once, ' +
      'with all its fills, when it is closed, so groups add up to the row without dimensions. ' +
      '`where` is about the closing: executedAt holds for closedAt, side BUY for SHORT and SELL for ' +
      'LONG, exchange, symbols and strategy for the position; orderIds finds the positions that ' +
      'these orders moved. Indexed: executedAt, symbols, positionIds, orderIds. Runs up to 30 s ' +
      '(ANALYTICS_DEADLINE_MS); longer is QUERY_TOO_EXPENSIVE.',
    type: [TradingPerformance],
    nullable: true,
    args: {
      account: t.arg.id(),
      where: t.arg({ type: TradeWhere }),
      groupBy: t.arg({ type: [PerformanceDimension], defaultValue: [] }),
    },
    resolve: async (_root, args, context) => [...(await tradingPerformance(context, args))],
  }),
);
