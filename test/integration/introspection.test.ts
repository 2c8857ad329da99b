import { getIntrospectionQuery } from 'graphql';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Role } from '../../access.ts';
import { refusalOf } from '../support/documents.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { connectSocket } from '../support/socket.ts';

const SCHEMA = '{ __schema { queryType { name } } }';

const FOLDED: readonly (readonly [string, string])[] = [
  ['the schema', SCHEMA],
  ['all of it', getIntrospectionQuery()],
  ['a type', '{ __type(name: "Order") { name } }'],
  ['a type under another name', '{ viewer: __type(name: "Order") { name } }'],
  ['a type beside other things', '{ viewer { role } __type(name: "Order") { name } }'],
  [
    'a type in a fragment',
    'query { ...a } fragment a on Query { ... { ...b } } fragment b on Query { __type(name: "A") { name } }',
  ],
  [
    'a type that is left out',
    'query ($on: Boolean = false) { viewer { role } __type(name: "A") @include(if: $on) { name } }',
  ],
];

describe('where exploring is on', () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startTestServer();
  });

  afterAll(() => server.stop());

  it.each(FOLDED)('a viewer may not ask for %s', async (_what, query) => {
    const { token: key } = await server.issueKey('VIEWER', ['main']);
    const { extensions, message } = refusalOf(await server.request(query, {}, { key }));
    expect(extensions).toMatchObject({ code: 'FORBIDDEN', executed: 'NO', retryable: false });
    expect(message).toContain('schema:explore');
  });

  it('a viewer may not ask by GET or over a socket either', async () => {
    const { token: key } = await server.issueKey('VIEWER', ['main']);
    const url = `${server.url}/graphql?query=${encodeURIComponent(SCHEMA)}`;
    const response = await fetch(url, { headers: { authorization: `Bearer ${key}` } });
    expect(await response.json()).toMatchObject({
      errors: [{ extensions: { code: 'FORBIDDEN' } }],
    });
    const socket = await connectSocket(server, key);
    socket.send({ type: 'subscribe', id: '1', payload: { query: SCHEMA } });
    expect(await socket.next('1')).toMatchObject({
      payload: { errors: [{ extensions: { code: 'FORBIDDEN' } }] },
    });
    socket.close();
  });

  it('a viewer may ask what type a thing has', async () => {
    const { token: key } = await server.issueKey('VIEWER', ['main']);
    expect(await server.data('{ __typename viewer { __typename } }', {}, { key })).toEqual({
      __typename: 'Query',
      viewer: { __typename: 'Viewer' },
    });
  });

  it.each<Role>(['ANALYST', 'BOT', 'OPERATOR', 'ADMIN'])('a key for %s may ask', async (role) => {
    const { token: key } = await server.issueKey(role, ['main']);
    for (const [, query] of FOLDED) {
      expect((await server.request(query, {}, { key })).errors).toEqual([]);
    }
  });
});

describe('where exploring is off', () => {
  let server: TestServer;

  afterEach(() => server.stop());

  it.each<Readonly<Record<string, string>>>([{ EXPLORE: 'off' }, { NODE_ENV: 'production' }])(
    'nobody may ask, and documents are answered: %j',
    async (environment) => {
      server = await startTestServer({ environment });
      for (const [, query] of FOLDED) {
        expect(refusalOf(await server.request(query)).extensions.code).toBe('FORBIDDEN');
      }
      expect(await server.data('{ viewer { role __typename } }')).toEqual({
        viewer: { role: 'ADMIN', __typename: 'Viewer' },
      });
    },
  );
});
