import type { ApiKey as ApiKeyRecord } from '../datasources/api-key.ts';
import { apiKeys, createApiKey, revokeApiKey } from '../resolvers/api-key.ts';
import { builder } from './builder.ts';
import { Role } from './enums.ts';

const ApiKey = builder.objectRef<ApiKeyRecord>('ApiKey').implement({
  description: 'A key; its secret was shown once and is not kept.',
  fields: (t) => ({
    id: t.exposeID('id'),
    name: t.exposeString('name'),
    role: t.expose('role', { type: Role }),
    accounts: t.idList({
      description: 'None: every account.',
      resolve: ({ accounts }) => [...accounts],
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    expiresAt: t.expose('expiresAt', { type: 'DateTime', nullable: true }),
    lastUsedAt: t.expose('lastUsedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Written about once a minute.',
    }),
    revokedAt: t.expose('revokedAt', { type: 'DateTime', nullable: true }),
  }),
});

const CreateApiKeyPayload = builder
  .objectRef<{ readonly id: string; readonly secret: string }>('CreateApiKeyPayload')
  .implement({
    fields: (t) => ({
      id: t.exposeID('id'),
      secret: t.exposeString('secret', {
        description:
          '`tw_…`, to be sent as `Authorization: Bearer …`. It is shown once: the stored answer of ' +
          'a repeated request has an empty text here (`extensions.shortened`).',
      }),
    }),
  });

const CreateApiKeyInput = builder.inputType('CreateApiKeyInput', {
  fields: (t) => ({
    name: t.string({ required: true, description: 'What or whom it is for.' }),
    role: t.field({ type: Role, required: true }),
    accounts: t.idList({
      required: true,
      description: 'At most 100. None: every account, for an OPERATOR or ADMIN only.',
    }),
    expiresAt: t.field({ type: 'DateTime', description: 'After now; left out: never.' }),
  }),
});

builder.queryField('apiKeys', (t) =>
  t.field({
    description: 'The keys, oldest first; for a key that is bound to accounts, those within them.',
    type: [ApiKey],
    nullable: true,
    resolve: async (_root, _args, context) => [...(await apiKeys(context))],
  }),
);

builder.mutationFields((t) => ({
  createApiKey: t.field({
    description: 'Makes a key. At most 1000 that are neither revoked nor expired.',
    type: CreateApiKeyPayload,
    args: { input: t.arg({ type: CreateApiKeyInput, required: true }) },
    resolve: (_root, { input }, context) => createApiKey(context, input),
  }),
  revokeApiKey: t.boolean({
    description:
      'Ends a key: at once on this node, within seconds on others. False where there is none to end.',
    args: { id: t.arg.id({ required: true }) },
    resolve: (_root, { id }, context) => revokeApiKey(context, id),
  }),
}));
