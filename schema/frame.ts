import type { GraphQLResolveInfo } from 'graphql';
import type { Frame } from '../datasources/frame.ts';
import {
  type AccountFrame,
  candleFrame,
  positionFrame,
  predictionFrame,
  type ShownColumns,
  tradeFrame,
} from '../resolvers/frame.ts';
import { builder } from './builder.ts';
import { PositionWhere } from './position.ts';
import { PredictionWhere } from './prediction.ts';
import { selectedFields } from './selection.ts';
import { TimeRange } from './time-range.ts';
import { TradeWhere } from './trade.ts';

const DecimalFormat = builder.enumType('DecimalFormat', {
  values: {
    STRING: { description: 'Exact.' },
    FLOAT: { description: 'JSON numbers: the nearest double.' },
  } as const,
});

const COUNT = 'Rows, and so the length of each column.';
const TRUNCATED = 'Older rows match, too: `limit` keeps the newest.';
const AS_OF = 'The last change of the account that is in these rows; none up to it is left out.';
const LIMIT =
  'Rows at most, the newest of those that match: 1 to 200,000. More rows, or more than 64 MiB, are ' +
  'FRAME_TOO_LARGE: `GET /export/<frame>` streams them.';
const PROMISE =
  'Whole columns, oldest row first: those asked for and no other are read, in one statement, so ' +
  'they are of one moment and one length. Runs up to 30 s (ANALYTICS_DEADLINE_MS); longer is ' +
  'QUERY_TOO_EXPENSIVE.';

/** The names of columns with what is to be said of them beyond their names. */
type Descriptions = Readonly<Record<string, string | null>>;

const PREDICTION_COLUMNS: Descriptions = {
  id: null,
  predictedAt: null,
  exchange: null,
  symbol: null,
  interval: null,
  modelVersion: null,
  signal: null,
  signalConfidence: '0 to 1.',
  price: null,
  riskScore: null,
  inferenceTimeMs: null,
  horizonMinutes: 'Of horizons, as all that follow.',
  direction: null,
  confidence: '0 to 1.',
  predictedReturn: 'A share: 0.01 is one percent.',
  actualReturn: 'Null while it is pending.',
  actualDirection: 'Null while it is pending.',
  correct: 'Null while it is pending.',
};

const TRADE_COLUMNS: Descriptions = {
  id: null,
  executedAt: null,
  exchange: null,
  symbol: null,
  side: null,
  price: null,
  quantity: 'In base currency.',
  commission: 'Below 0: a rebate.',
  realizedPnl: 'In quote currency, commission apart.',
  strategy: null,
  orderId: 'Null: opened or closed without an order.',
  positionId: null,
};

const POSITION_COLUMNS: Descriptions = {
  id: null,
  openedAt: null,
  closedAt: 'Null while it is open.',
  exchange: null,
  symbol: null,
  side: null,
  status: null,
  quantity: 'What is still open, in base currency: 0 once closed.',
  entryPrice: 'Weighted average.',
  markPrice: 'The newest price the account was told; null: none yet.',
  realizedPnl: 'In quote currency, fees apart.',
  unrealizedPnl: 'At the mark; 0 when closed or without one.',
  fees: 'In quote currency.',
  strategy: null,
};

const CANDLE_COLUMNS: Descriptions = {
  openTime: null,
  open: null,
  high: null,
  low: null,
  close: null,
  volume: 'In base currency.',
};

const PredictionFrame = builder.objectRef<AccountFrame>('PredictionFrame').implement({
  description:
    'A row for each prediction or, with a column of horizons, for each horizon, the shortest first: ' +
    'a prediction without horizons has none then.',
  fields: (t) => ({
    count: t.exposeInt('count', { description: COUNT }),
    truncated: t.exposeBoolean('isTruncated', { description: TRUNCATED }),
    asOfSeq: t.expose('headSeq', { type: 'BigInt', description: AS_OF }),
    ...columnFields(t, PREDICTION_COLUMNS),
  }),
});

const TradeFrame = builder.objectRef<AccountFrame>('TradeFrame').implement({
  fields: (t) => ({
    count: t.exposeInt('count', { description: COUNT }),
    truncated: t.exposeBoolean('isTruncated', { description: TRUNCATED }),
    asOfSeq: t.expose('headSeq', { type: 'BigInt', description: AS_OF }),
    ...columnFields(t, TRADE_COLUMNS),
  }),
});

const PositionFrame = builder.objectRef<AccountFrame>('PositionFrame').implement({
  fields: (t) => ({
    count: t.exposeInt('count', { description: COUNT }),
    truncated: t.exposeBoolean('isTruncated', { description: TRUNCATED }),
    asOfSeq: t.expose('headSeq', { type: 'BigInt', description: AS_OF }),
    ...columnFields(t, POSITION_COLUMNS),
  }),
});

const CandleFrame = builder.objectRef<Frame>('CandleFrame').implement({
  fields: (t) => ({
    count: t.exposeInt('count', { description: COUNT }),
    truncated: t.exposeBoolean('isTruncated', { description: TRUNCATED }),
    ...columnFields(t, CANDLE_COLUMNS),
  }),
});

builder.queryFields((t) => {
  const frameArguments = {
    limit: t.arg.int({ defaultValue: 100_000, description: LIMIT }),
    decimals: t.arg({ type: DecimalFormat, defaultValue: 'STRING' }),
  };
  return {
    predictionFrame: t.field({
      description: `Predictions in columns. ${PROMISE}`,
      type: PredictionFrame,
      nullable: true,
      args: { account: t.arg.id(), where: t.arg({ type: PredictionWhere }), ...frameArguments },
      resolve: (_root, args, context, info) =>
        predictionFrame(context, args, shownColumns(info, PREDICTION_COLUMNS)),
    }),
    tradeFrame: t.field({
      description: `Trades in columns. ${PROMISE}`,
      type: TradeFrame,
      nullable: true,
      args: { account: t.arg.id(), where: t.arg({ type: TradeWhere }), ...frameArguments },
      resolve: (_root, args, context, info) =>
        tradeFrame(context, args, shownColumns(info, TRADE_COLUMNS)),
    }),
    positionFrame: t.field({
      description: `Positions in columns. ${PROMISE}`,
      type: PositionFrame,
      nullable: true,
      args: { account: t.arg.id(), where: t.arg({ type: PositionWhere }), ...frameArguments },
      resolve: (_root, args, context, info) =>
        positionFrame(context, args, shownColumns(info, POSITION_COLUMNS)),
    }),
    candleFrame: t.field({
      description: `Candles in columns. ${PROMISE}`,
      type: CandleFrame,
      nullable: true,
      args: {
        exchange: t.arg.string({ required: true }),
        symbol: t.arg.string({ required: true }),
        interval: t.arg.string({ required: true }),
        range: t.arg({ type: TimeRange }),
        ...frameArguments,
      },
      resolve: (_root, args, context, info) =>
        candleFrame(context, args, shownColumns(info, CANDLE_COLUMNS)),
    }),
  };
});

// The builder of fields has no exported name of its own.
type FieldBuilder<Source> = Parameters<
  Parameters<ReturnType<typeof builder.objectRef<Source>>['implement']>[0]['fields'] & {}
>[0];

function columnFields<Source extends Frame>(t: FieldBuilder<Source>, descriptions: Descriptions) {
  const fields = Object.entries(descriptions).map(([name, description]) => [
    name,
    t.field({
      type: 'Column',
      nullable: true,
      ...(description === null ? {} : { description }),
      resolve: (frame) => frame.columns.get(name),
    }),
  ]);
  return Object.fromEntries(fields);
}

function shownColumns(info: GraphQLResolveInfo, descriptions: Descriptions): ShownColumns {
  return new Map([...selectedFields(info)].filter(([name]) => Object.hasOwn(descriptions, name)));
}
