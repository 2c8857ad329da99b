import type { Account as AccountRecord } from '../datasources/account.ts';
import type { Context } from '../context.ts';
import {
  account,
  createAccount,
  setTradingState,
  type Viewer as ViewerRecord,
  viewer,
  viewerAccounts,
} from '../resolvers/account.ts';
import { builder, LOADER_BATCH_MAX } from './builder.ts';
import { Role, TradingState } from './enums.ts';
import { Node } from './node.ts';

export const Account = builder.loadableObjectRef<AccountRecord, string>('Account', {
  load: async (ids: string[], context: Context) => {
    const rows = await context.datasources.accounts.findByIds(ids);
    return rows.map((row, place) => row ?? new Error(`no account ${ids[place]}`));
  },
  loaderOptions: { maxBatchSize: LOADER_BATCH_MAX },
});

Account.implement({
  description: 'Whose orders, positions and predictions these are. Its id is its slug.',
  interfaces: [Node],
  fields: (t) => ({
    id: t.exposeID('id'),
    name: t.exposeString('name'),
    hedgeMode: t.exposeBoolean('hedgeMode', {
      description: 'Whether LONG and SHORT of one symbol may be open at once.',
    }),
    tradingState: t.expose('tradingState', { type: TradingState }),
    headSeq: t.expose('headSeq', {
      type: 'BigInt',
      description: 'The last seq of its log; in a mutation, before that mutation.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
  }),
});

const Viewer = builder.objectRef<ViewerRecord>('Viewer').implement({
  description: 'Who asks.',
  fields: (t) => ({
    actor: t.exposeString('actor', { description: 'As it stands in the log.' }),
    role: t.field({ type: Role, resolve: (parent) => parent.role }),
    permissions: t.exposeStringList('permissions'),
    accounts: t.field({
      description: 'The accounts this key is for, by id.',
      type: [Account],
      resolve: async (_parent, _args, context) => [...(await viewerAccounts(context))],
    }),
  }),
});

builder.queryFields((t) => ({
  viewer: t.field({
    description: 'Who asks, as the server sees it.',
    type: Viewer,
    resolve: (_root, _args, context) => viewer(context),
  }),
  account: t.field({
    description: 'One account.',
    type: Account,
    nullable: true,
    args: { id: t.arg.id() },
    resolve: (_root, args, context) => account(context, args),
  }),
}));

const SetTradingStateInput = builder.inputType('SetTradingStateInput', {
  fields: (t) => ({
    account: t.id({ description: 'May be left out by a key that is for one account.' }),
    state: t.field({ type: TradingState, required: true }),
    reason: t.string({ required: true, description: 'Stands in the log.' }),
  }),
});

const CreateAccountInput = builder.inputType('CreateAccountInput', {
  fields: (t) => ({
    id: t.id({ required: true, description: 'Up to 40 of a-z, 0-9 and -, a letter first.' }),
    name: t.string({ required: true }),
    hedgeMode: t.boolean({
      defaultValue: false,
      description: 'Whether LONG and SHORT of one symbol may be open at once. It is for good.',
    }),
  }),
});

builder.mutationFields((t) => ({
  setTradingState: t.field({
    description:
      'Sets what new risk the account may take, with the commit: a request that has begun under ' +
      'the former state runs again.',
    type: Account,
    args: { input: t.arg({ type: SetTradingStateInput, required: true }) },
    resolve: (_root, { input }, context) => setTradingState(context, input),
  }),
  createAccount: t.field({
    description:
      'Adds an account. One that is there already with the same name and mode is answered as it is.',
    type: Account,
    args: { input: t.arg({ type: CreateAccountInput, required: true }) },
    resolve: (_root, { input }, context) => createAccount(context, input),
  }),
}));
