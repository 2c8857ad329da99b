import type { Balance as BalanceRecord } from '../datasources/balance.ts';
import { balances, totalOf, upsertBalances } from '../resolvers/balance.ts';
import { builder } from './builder.ts';

const Balance = builder.objectRef<BalanceRecord>('Balance').implement({
  description: 'What an account has of one asset at one exchange.',
  fields: (t) => ({
    exchange: t.exposeString('exchange'),
    asset: t.exposeString('asset'),
    free: t.expose('free', {
      type: 'Decimal',
      description: 'Below 0 where the exchange lends.',
    }),
    locked: t.expose('locked', { type: 'Decimal' }),
    total: t.field({ type: 'Decimal', description: 'free + locked.', resolve: totalOf }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'When its amounts changed last.',
    }),
  }),
});

const BalancesPayload = builder.objectRef<readonly BalanceRecord[]>('BalancesPayload').implement({
  fields: (t) => ({
    balances: t.field({
      type: [Balance],
      description: 'One an item, in input order.',
      resolve: (rows) => [...rows],
    }),
  }),
});

const BalanceItem = builder.inputType('BalanceItem', {
  fields: (t) => ({
    exchange: t.string({ required: true, description: 'Lower case: `bybit`.' }),
    asset: t.string({ required: true, description: 'Upper case: `USDT`.' }),
    free: t.field({
      type: 'Decimal',
      required: true,
      description: 'Below 0 where the exchange lends.',
    }),
    locked: t.field({ type: 'Decimal', required: true, description: 'Not below 0.' }),
  }),
});

const UpsertBalancesInput = builder.inputType('UpsertBalancesInput', {
  fields: (t) => ({
    account: t.id({ description: 'May be left out by a key that is for one account.' }),
    items: t.field({
      type: [BalanceItem],
      required: true,
      description: '1 to 1000, each asset of an exchange once.',
    }),
  }),
});

builder.queryField('balances', (t) =>
  t.field({
    description: 'All balances, or those of one exchange, by exchange and asset.',
    type: [Balance],
    nullable: true,
    args: { account: t.arg.id(), exchange: t.arg.string() },
    resolve: async (_root, args, context) => [...(await balances(context, args))],
  }),
);

builder.mutationField('upsertBalances', (t) =>
  t.field({
    description:
      'Stores what the account has now; what is not named stays. All of them or, when one is ' +
      'refused, none. At most 5000 an account.',
    type: BalancesPayload,
    args: { input: t.arg({ type: UpsertBalancesInput, required: true }) },
    resolve: (_root, { input }, context) => upsertBalances(context, input),
  }),
);
