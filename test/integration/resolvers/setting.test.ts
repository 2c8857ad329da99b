import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SETTINGS_MAX } from '../../../resolvers/setting.ts';
import { inputOf, refusalOf } from '../../support/documents.ts';
import { type Item, many } from '../../support/make.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';

const PUT = `mutation ($input: PutSettingsInput!) {
  putSettings(input: $input) { settings { key value version updatedAt } }
}`;
const LIST = `query ($keys: [String!]) { settings(account: "main", keys: $keys) { key value version } }`;
const CHANGES = `{ changes(account: "main") { nodes { entity operation ids before after } } }`;

interface Setting {
  readonly key: string;
  readonly value: unknown;
  readonly version: number;
}

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

beforeEach(async () => {
  await server.sql`truncate settings, changes`;
  await server.sql`update account_heads set seq = 0, hash = ''`;
});

async function put(items: readonly Item[]): Promise<readonly Setting[]> {
  type Data = { readonly putSettings: { readonly settings: readonly Setting[] } };
  return (await server.data<Data>(PUT, inputOf(items))).putSettings.settings;
}

async function list(keys?: readonly string[]): Promise<readonly Setting[]> {
  return (await server.data<{ settings: readonly Setting[] }>(LIST, { keys })).settings;
}

async function operations(): Promise<readonly string[]> {
  type Data = { readonly changes: { readonly nodes: readonly { readonly operation: string }[] } };
  const { changes } = await server.data<Data>(CHANGES);
  return changes.nodes.map(({ operation }) => operation);
}

async function extensionsOf(items: readonly Item[], key = server.key) {
  return refusalOf(await server.request(PUT, inputOf(items), { key })).extensions;
}

describe('putSettings', () => {
  it.each([[{ nested: [1, 'a', null, true] }], ['text'], [0], [false], [[]]])(
    'keeps %j as it is',
    async (value) => {
      expect(await put([{ key: 'k', value }])).toMatchObject([{ key: 'k', value, version: 1 }]);
      expect(await list()).toEqual([{ key: 'k', value, version: 1 }]);
    },
  );

  it('counts versions and logs each change with the row before and after', async () => {
    const [first] = await put([{ key: 'k', value: 1 }]);
    const [second] = await put([{ key: 'k', value: 2 }]);
    expect(second).toMatchObject({ version: 2 });
    await put([{ key: 'k', value: null }]);
    expect(await server.data(CHANGES)).toEqual({
      changes: {
        nodes: [
          { entity: 'setting', operation: 'INSERT', ids: ['k'], before: null, after: first },
          { entity: 'setting', operation: 'UPDATE', ids: ['k'], before: first, after: second },
          { entity: 'setting', operation: 'DELETE', ids: ['k'], before: second, after: null },
        ],
      },
    });
  });

  it('answers in input order and leaves out what was removed', async () => {
    await put([{ key: 'b', value: 1 }]);
    const stored = await put([
      { key: 'c', value: 3 },
      { key: 'b', value: null },
      { key: 'a', value: 1 },
    ]);
    expect(stored.map(({ key }) => key)).toEqual(['c', 'a']);
    expect((await list()).map(({ key }) => key)).toEqual(['a', 'c']);
  });

  it('leaves a value that is the same as it is, however it is written', async () => {
    const [before] = await put([{ key: 'k', value: { a: 1, b: [2] } }]);
    expect(await put([{ key: 'k', value: { b: [2], a: 1 } }])).toEqual([before]);
    expect(await operations()).toEqual(['INSERT']);
  });

  it('does nothing when what it removes is not there', async () => {
    expect(await put([{ key: 'k', value: null }])).toEqual([]);
    expect(await operations()).toEqual([]);
  });

  it('goes on counting after a removal, so that an old writer is refused', async () => {
    await put([{ key: 'k', value: 1 }]);
    await put([{ key: 'k', value: null }]);
    expect(await put([{ key: 'k', value: 2, expectedVersion: 0 }])).toMatchObject([{ version: 3 }]);
    expect(await extensionsOf([{ key: 'k', value: 3, expectedVersion: 1 }])).toMatchObject({
      code: 'CONFLICT',
      version: 3,
    });
    expect(await operations()).toEqual(['INSERT', 'DELETE', 'INSERT']);
  });

  it.each([
    [0, { code: 'CONFLICT', key: 'k', version: 1 }],
    [2, { code: 'CONFLICT', key: 'k', version: 1 }],
  ])('stores nothing when one is not at version %i', async (expectedVersion, extensions) => {
    await put([{ key: 'k', value: 1 }]);
    expect(
      await extensionsOf([
        { key: 'other', value: 1 },
        { key: 'k', value: 2, expectedVersion },
      ]),
    ).toMatchObject({ ...extensions, path: ['input', 'items', '1', 'expectedVersion'] });
    expect(await list()).toEqual([{ key: 'k', value: 1, version: 1 }]);
  });

  it('refuses a version of what is not set', async () => {
    expect(await extensionsOf([{ key: 'k', value: 1, expectedVersion: 1 }])).toMatchObject({
      code: 'CONFLICT',
      version: 0,
    });
  });

  it('lets one of those succeed that have seen the same version', async () => {
    for (const expectedVersion of [0, 1]) {
      const answers = await Promise.all(
        many(5, (value) => ({ key: 'k', value: Number(value) + 10 * expectedVersion })).map(
          (item) => server.request(PUT, inputOf([{ ...item, expectedVersion }])),
        ),
      );
      expect(answers.filter(({ data }) => data !== null)).toHaveLength(1);
      const refused = answers.filter(({ data }) => data === null);
      expect(refused.map((answer) => refusalOf(answer).extensions.code)).toEqual(
        new Array<string>(4).fill('CONFLICT'),
      );
    }
  });

  it.each<[string, Item]>([
    ['no key', { key: '', value: 1 }],
    ['a key of 201 characters', { key: 'k'.repeat(201), value: 1 }],
    ['a key of two lines', { key: 'a\nb', value: 1 }],
    ['no value', { key: 'k' }],
    ['a long value', { key: 'k', value: 'x'.repeat(16_384) }],
  ])('refuses %s', async (_name, item) => {
    expect(await extensionsOf([{ key: 'good', value: 1 }, item])).toMatchObject({
      code: 'BAD_INPUT',
    });
    expect(await list()).toEqual([]);
  });

  it('refuses a key that stands in the batch twice', async () => {
    const item = { key: 'k', value: 1 };
    expect(await extensionsOf([item, item])).toMatchObject({ code: 'BAD_INPUT' });
  });

  it('holds as many as an account may have and not one more, in a few statements', async () => {
    const items = many(SETTINGS_MAX, (index) => ({ key: `k${index}`, value: index }));
    server.statements();
    await put(items);
    expect(server.statements()).toEqual([
      'transaction.begin',
      'settings.lock',
      'settings.upsertMany',
      'settings.count',
      'changes.append',
      'transaction.commit',
    ]);
    expect(await extensionsOf([{ key: 'more', value: 1 }])).toMatchObject({ code: 'CONFLICT' });
    expect(await extensionsOf([...items, { key: 'more', value: 1 }])).toMatchObject({
      code: 'BATCH_TOO_LARGE',
    });
  });

  it('is not for those who only read', async () => {
    const { token } = await server.issueKey('ANALYST', ['main']);
    expect(await extensionsOf([{ key: 'k', value: 1 }], token)).toMatchObject({
      code: 'FORBIDDEN',
    });
  });
});

describe('settings', () => {
  it('are those of the keys that are named, by key', async () => {
    await put(many(3, (index) => ({ key: `k${index}`, value: index })));
    expect(await list(['k2', 'k0', 'missing'])).toMatchObject([{ key: 'k0' }, { key: 'k2' }]);
  });

  it('takes a thousand keys and not one more', async () => {
    const keys = many(1001, (index) => ({ key: `k${index}` })).map(({ key }) => String(key));
    expect(await list(keys.slice(1))).toEqual([]);
    const { errors } = await server.request(LIST, { keys });
    expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', path: ['keys'] });
  });
});
