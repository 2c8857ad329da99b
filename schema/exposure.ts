import type { Exposure as ExposureRecord } from '../datasources/exposure.ts';
import { exposure } from '../resolvers/exposure.ts';
import { builder } from './builder.ts';
import { PositionWhere } from './position.ts';

const Exposure = builder.objectRef<ExposureRecord>('Exposure').implement({
  description:
    'What open positions are worth, in quote currency. Notional = quantity · mark; an instrument ' +
    'without a mark counts at the entry price of its position.',
  fields: (t) => ({
    openPositions: t.exposeInt('openPositions'),
    longNotional: t.expose('longNotional', {
      type: 'Decimal',
      description: 'Of LONG positions: a sum, rounded half-even to 18 digits.',
    }),
    shortNotional: t.expose('shortNotional', {
      type: 'Decimal',
      description: 'Of SHORT positions, as a positive amount.',
    }),
    netNotional: t.expose('netNotional', {
      type: 'Decimal',
      description: 'longNotional − shortNotional: the side the account leans to.',
    }),
    grossNotional: t.expose('grossNotional', {
      type: 'Decimal',
      description: 'longNotional + shortNotional: what is at stake in all.',
    }),
    unrealizedPnl: t.expose('unrealizedPnl', {
      type: 'Decimal',
      description: 'The sum of the positions’ own: 0 for one without a mark.',
    }),
    realizedPnlToday: t.expose('realizedPnlToday', {
      type: 'Decimal',
      description:
        'The realizedPnl, fees apart, of the trades executed since midnight UTC of positions that ' +
        'match `where`, its status left aside: one that was closed today is not open any more.',
    }),
    fees: t.expose('fees', { type: 'Decimal', description: 'What the open positions have cost.' }),
    asOfSeq: t.expose('asOfSeq', {
      type: 'BigInt',
      description: 'The last change of the account that is in these figures; none is left out.',
    }),
  }),
});

builder.queryField('exposure', (t) =>
  t.field({
    description:
      'The open positions that match, at their newest marks, as of one moment. Runs up to 30 s ' +
      '(ANALYTICS_DEADLINE_MS); longer is QUERY_TOO_EXPENSIVE.',
    type: Exposure,
    nullable: true,
    args: { account: t.arg.id(), where: t.arg({ type: PositionWhere }) },
    resolve: (_root, args, context) => exposure(context, args),
  }),
);
