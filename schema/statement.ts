import type { SlowStatement as SlowRecord, StatementFigures } from '../datasources/statistics.ts';
import { slowStatements, statementStats } from '../resolvers/statement.ts';
import { builder } from './builder.ts';

const StatementOrder = builder.enumType('StatementOrder', {
  values: ['TOTAL_TIME', 'MEAN_TIME', 'CALLS', 'ERRORS'] as const,
});

const StatementStats = builder.objectRef<StatementFigures>('StatementStats').implement({
  description:
    'One named SQL statement of this process since its start. Milliseconds are from its first ' +
    'byte sent to its last row read; quantiles are of a histogram, at most 9 % off.',
  fields: (t) => ({
    name: t.exposeString('name'),
    calls: t.field({ type: 'BigInt', resolve: ({ calls }) => String(calls) }),
    errors: t.field({ type: 'BigInt', resolve: ({ errors }) => String(errors) }),
    rows: t.field({ type: 'BigInt', resolve: ({ rows }) => String(rows) }),
    msTotal: t.exposeFloat('msTotal'),
    msMean: t.exposeFloat('msMean'),
    msP50: t.exposeFloat('msP50', { nullable: true }),
    msP95: t.exposeFloat('msP95', { nullable: true }),
    msP99: t.exposeFloat('msP99', { nullable: true }),
    msMax: t.exposeFloat('msMax', { nullable: true }),
    cacheHitRate: t.float({
      nullable: true,
      description: 'Null: results are cached by operation, not by statement.',
      resolve: () => null,
    }),
  }),
});

const SlowStatement = builder.objectRef<SlowRecord>('SlowStatement').implement({
  description: 'One run of a statement that took longer than 100 ms, 50 ms in a mutation.',
  fields: (t) => ({
    name: t.exposeString('name'),
    ms: t.exposeFloat('ms'),
    at: t.expose('at', { type: 'DateTime', description: 'When it ended.' }),
    rows: t.exposeInt('rows', { nullable: true }),
    requestId: t.exposeString('requestId', { nullable: true }),
    operationName: t.exposeString('operationName', { nullable: true }),
  }),
});

builder.queryFields((t) => ({
  statementStats: t.field({
    description: 'What the SQL statements of this process cost, the most first. Never cached.',
    type: [StatementStats],
    nullable: true,
    args: {
      orderBy: t.arg({ type: StatementOrder, defaultValue: 'TOTAL_TIME' }),
      first: t.arg.int({ defaultValue: 20, description: '1 to 500.' }),
    },
    resolve: (_root, args, context) => [...statementStats(context, args)],
  }),
  slowStatements: t.field({
    description: 'The slow statements of this process, newest first; 200 are kept. Never cached.',
    type: [SlowStatement],
    nullable: true,
    args: { first: t.arg.int({ defaultValue: 20, description: '1 to 500.' }) },
    resolve: (_root, args, context) => [...slowStatements(context, args)],
  }),
}));
