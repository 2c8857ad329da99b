import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { API_KEY_ACCOUNTS_MAX, API_KEYS_MAX } from '../../../resolvers/api-key.ts';
import { refusalOf } from '../../support/documents.ts';
import { type SecondNode, startSecondNode } from '../../support/second-node.ts';
import { type RequestOptions, startTestServer, type TestServer } from '../../support/server.ts';

const CREATE = `mutation ($input: CreateApiKeyInput!) {
  made: createApiKey(input: $input) { id shown: secret }
}`;
const REVOKE = 'mutation ($id: ID!) { revokeApiKey(id: $id) }';
const LIST = '{ apiKeys { id name role accounts createdAt expiresAt lastUsedAt revokedAt } }';
const VIEWER = '{ viewer { actor role accounts { id } } }';
const CHANGES = '{ changes(account: "_system") { nodes { entity operation ids after } } }';

interface Made {
  readonly made: { readonly id: string; readonly shown: string };
}

let server: TestServer;
let second: SecondNode;

beforeAll(async () => {
  server = await startTestServer();
  second = await startSecondNode(server);
});

afterAll(async () => {
  await second.stop();
  await server.stop();
});

function request(changes: object = {}, options: RequestOptions = {}) {
  const input = { name: 'bot', role: 'BOT', accounts: ['main'], ...changes };
  return server.request<Made>(CREATE, { input }, options);
}

async function create(changes: object = {}, options: RequestOptions = {}): Promise<Made['made']> {
  const { data, text } = await request(changes, options);
  if (data === null) throw new Error(text);
  return data.made;
}

async function codeOf(key: string, ask: TestServer['request'] = server.request) {
  const { errors } = await ask(VIEWER, {}, { key });
  return errors[0]?.extensions.code ?? null;
}

async function list(key = server.key): Promise<readonly { readonly id: string }[]> {
  type Data = { readonly apiKeys: readonly { readonly id: string }[] };
  return (await server.data<Data>(LIST, {}, { key })).apiKeys;
}

describe('createApiKey', () => {
  it('makes a key that works on this node with the next request', async () => {
    const { id, shown } = await create();
    expect(await server.data(VIEWER, {}, { key: shown })).toEqual({
      viewer: { actor: `key:${id}`, role: 'BOT', accounts: [{ id: 'main' }] },
    });
  });

  it('makes a key that other nodes know soon', async () => {
    const { shown } = await create();
    await expect.poll(() => codeOf(shown, second.request), { timeout: 10_000 }).toBeNull();
  });

  it('keeps the secret nowhere', async () => {
    const headers = { 'idempotency-key': 'secret' };
    const { id, shown } = await create({}, { headers });
    const [, , secret = ''] = shown.split('_');
    expect(secret.length).toBeGreaterThanOrEqual(32);
    const tables = ['api_keys', 'changes', 'idempotency_keys', 'account_heads'];
    for (const table of tables) {
      const rows = await server.sql.unsafe(`select t::text as text from ${table} as t`);
      expect(rows.filter(({ text }) => text.includes(secret))).toEqual([]);
    }
    expect(await server.data(CHANGES)).toMatchObject({
      changes: {
        nodes: expect.arrayContaining([
          expect.objectContaining({ entity: 'apiKey', operation: 'INSERT', ids: [id] }),
        ]),
      },
    });
  });

  it('answers a repeat without the secret, says so, and makes no other key', async () => {
    const options = { headers: { 'idempotency-key': 'repeated' } };
    const { id } = await create({ name: 'repeated' }, options);
    const count = (await list()).length;
    const { data, extensions } = await request({ name: 'repeated' }, options);
    expect(data).toEqual({ made: { id, shown: '' } });
    expect(extensions).toMatchObject({ replayed: true, shortened: true });
    expect(await list()).toHaveLength(count);
  });

  it('keeps the answers of other mutations whole', async () => {
    const document = `mutation {
      createAccount(input: { id: "whole", name: "Whole" }) { id name }
    }`;
    const options = { headers: { 'idempotency-key': 'whole' } };
    const { data } = await server.request(document, {}, options);
    const repeated = await server.request(document, {}, options);
    expect(repeated.data).toEqual(data);
    expect(repeated.extensions.shortened).toBeUndefined();
  });

  it('makes none when another field of the operation is refused', async () => {
    const count = (await list()).length;
    const document = `mutation {
      createApiKey(input: { name: "x", role: BOT, accounts: ["main"] }) { secret }
      createAccount(input: { id: "Bad", name: "x" }) { id }
    }`;
    expect(refusalOf(await server.request(document)).extensions.code).toBe('BAD_INPUT');
    expect(await list()).toHaveLength(count);
  });

  it.each([
    [{ name: '' }, 'BAD_INPUT'],
    [{ accounts: [] }, 'BAD_INPUT'],
    [{ role: 'VIEWER', accounts: [] }, 'BAD_INPUT'],
    [{ accounts: ['nowhere'] }, 'NOT_FOUND'],
    [{ expiresAt: '2026-01-01T00:00:00Z' }, 'BAD_INPUT'],
    [
      { accounts: Array.from({ length: API_KEY_ACCOUNTS_MAX + 1 }, (_, n) => `a${n}`) },
      'BAD_INPUT',
    ],
  ])('refuses %o', async (changes, code) => {
    expect(refusalOf(await request(changes)).extensions.code).toBe(code);
  });

  it('ends a key at its expiry', async () => {
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const { id, shown } = await create({ expiresAt });
    expect(await codeOf(shown)).toBeNull();
    await server.sql`update api_keys set expires_at = '2026-01-01T00:00:00Z' where id = ${id}`;
    // Any key that is made lets this node read them all.
    await create();
    expect(await codeOf(shown)).toBe('UNAUTHENTICATED');
  });

  it('gives no key more accounts than the one that makes it', async () => {
    await server.data('mutation { createAccount(input: { id: "side", name: "Side" }) { id } }');
    const { shown: key } = await create({ role: 'ADMIN' });
    expect((await create({ role: 'ADMIN' }, { key })).shown).toMatch(/^tw_/);
    for (const changes of [{ role: 'ADMIN', accounts: [] }, { accounts: ['main', 'side'] }]) {
      expect(refusalOf(await request(changes, { key })).extensions.code).toBe('FORBIDDEN');
    }
  });

  it.each(['VIEWER', 'ANALYST', 'BOT', 'OPERATOR'])('is not for a %s', async (role) => {
    const { shown: key } = await create({ role });
    expect(refusalOf(await request({}, { key })).extensions.code).toBe('FORBIDDEN');
  });

  it('makes as many as there may be and not one more', async () => {
    const [row] = await server.sql`
      select count(*)::int as count from api_keys
      where revoked_at is null and (expires_at is null or expires_at > now())`;
    const missing = API_KEYS_MAX - 1 - Number(row?.count);
    await server.sql`
      insert into api_keys (id, name, role, accounts, secret_hash, created_at)
      select 'Filler' || n, 'filler', 'VIEWER', '{main}', '\\x00', now()
      from generate_series(1001, ${1000 + missing}::int) as n`;
    await create();
    expect(refusalOf(await request()).extensions.code).toBe('CONFLICT');
    await server.sql`delete from api_keys where name = 'filler'`;
  });
});

describe('revokeApiKey', () => {
  it('ends the key on this node before it answers, and soon on others', async () => {
    const { id, shown } = await create();
    await expect.poll(() => codeOf(shown, second.request), { timeout: 10_000 }).toBeNull();
    expect(await server.data(REVOKE, { id })).toEqual({ revokeApiKey: true });
    expect(await codeOf(shown)).toBe('UNAUTHENTICATED');
    const isEnded = () => codeOf(shown, second.request);
    await expect.poll(isEnded, { timeout: 10_000 }).toBe('UNAUTHENTICATED');
  });

  it('is false for a key that is revoked already, or is none', async () => {
    const { id } = await create();
    await server.data(REVOKE, { id });
    expect(await server.data(REVOKE, { id })).toEqual({ revokeApiKey: false });
    expect(await server.data(REVOKE, { id: 'nothing' })).toEqual({ revokeApiKey: false });
  });

  it('does not reach keys beyond the accounts of the actor', async () => {
    const { shown: key } = await create({ role: 'ADMIN' });
    const everywhere = await create({ role: 'OPERATOR', accounts: [] });
    const { id } = await create();
    expect(await server.data(REVOKE, { id: everywhere.id }, { key })).toEqual({
      revokeApiKey: false,
    });
    expect(await codeOf(everywhere.shown)).toBeNull();
    expect(await server.data(REVOKE, { id }, { key })).toEqual({ revokeApiKey: true });
  });
});

describe('apiKeys', () => {
  it('shows everything of a key but its secret', async () => {
    const { id } = await create({ name: 'shown', accounts: ['main', 'main'] });
    const key = (await list()).find((one) => one.id === id);
    expect(key).toMatchObject({
      name: 'shown',
      role: 'BOT',
      accounts: ['main'],
      expiresAt: null,
      lastUsedAt: null,
      revokedAt: null,
    });
  });

  it('shows those within the accounts of the actor', async () => {
    const { id: everywhere } = await create({ role: 'OPERATOR', accounts: [] });
    const { id, shown: key } = await create({ role: 'OPERATOR' });
    const ids = (await list(key)).map((one) => one.id);
    expect(ids).toContain(id);
    expect(ids).not.toContain(everywhere);
  });

  it('is not for a BOT', async () => {
    const { shown: key } = await create();
    const { data, errors } = await server.request(LIST, {}, { key });
    expect(data).toEqual({ apiKeys: null });
    expect(errors[0]?.extensions.code).toBe('FORBIDDEN');
  });
});
