import type { Setting as SettingRecord } from '../datasources/setting.ts';
import { putSettings, settings } from '../resolvers/setting.ts';
import { builder } from './builder.ts';

const Setting = builder.objectRef<SettingRecord>('Setting').implement({
  description: 'A named value of an account, for bots and those who run them.',
  fields: (t) => ({
    key: t.exposeString('key'),
    value: t.expose('value', { type: 'JSON' }),
    version: t.exposeInt('version', {
      description: 'Counts its changes; give it as expectedVersion. It goes on after a removal.',
    }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime' }),
  }),
});

const SettingsPayload = builder.objectRef<readonly SettingRecord[]>('SettingsPayload').implement({
  fields: (t) => ({
    settings: t.field({
      type: [Setting],
      description: 'Those that are set, in input order; removed ones are left out.',
      resolve: (rows) => [...rows],
    }),
  }),
});

const SettingItem = builder.inputType('SettingItem', {
  fields: (t) => ({
    key: t.string({ required: true, description: '1 to 200 characters.' }),
    value: t.field({ type: 'JSON', description: 'Up to 16 KiB. Null: the setting is removed.' }),
    expectedVersion: t.int({
      description: 'CONFLICT unless the setting is at this version; 0: it must not be set.',
    }),
  }),
});

const PutSettingsInput = builder.inputType('PutSettingsInput', {
  fields: (t) => ({
    account: t.id({ description: 'May be left out by a key that is for one account.' }),
    items: t.field({
      type: [SettingItem],
      required: true,
      description: '1 to 1000, each key once.',
    }),
  }),
});

builder.queryField('settings', (t) =>
  t.field({
    description: 'All settings, or those of these keys, by key.',
    type: [Setting],
    nullable: true,
    args: {
      account: t.arg.id(),
      keys: t.arg.stringList({ description: 'At most 1000; one without a setting is left out.' }),
    },
    resolve: async (_root, args, context) => [...(await settings(context, args))],
  }),
);

builder.mutationField('putSettings', (t) =>
  t.field({
    description:
      'Sets and removes settings: all of them or, when one is refused, none. A value that is the ' +
      'same already keeps its version. At most 1000 an account.',
    type: SettingsPayload,
    args: { input: t.arg({ type: PutSettingsInput, required: true }) },
    resolve: (_root, { input }, context) => putSettings(context, input),
  }),
);
