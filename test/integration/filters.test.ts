import {
  getNamedType,
  type GraphQLInputType,
  isEnumType,
  isInputObjectType,
  isListType,
  getNullableType,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FILTER_ENTRIES_MAX } from '../../limits.ts';
import { createSchema } from '../../schema/schema.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { connectSocket } from '../support/socket.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const schema = createSchema();

interface FilterList {
  readonly field: string;
  readonly list: string;
  /** Of the filter. */
  readonly type: GraphQLInputType;
  readonly item: string;
}

/** Every list of every filter that a root field takes as `where`. */
function listsOf(root: 'query' | 'subscription'): readonly FilterList[] {
  const fields = Object.values(schema.getRootType(root as never)?.getFields() ?? {});
  return fields.flatMap(({ name: field, args }) => {
    const where = args.find(({ name }) => name === 'where');
    const type = where === undefined ? null : getNamedType(where.type);
    if (where === undefined || !isInputObjectType(type)) return [];
    return Object.values(type.getFields()).flatMap((entry) => {
      if (!isListType(getNullableType(entry.type))) return [];
      const named = getNamedType(entry.type);
      const item = isEnumType(named) ? (named.getValues()[0]?.name ?? '') : 'x';
      return [{ field, list: entry.name, type: where.type, item }];
    });
  });
}

/** Of fields that need more than an account. */
const FURTHER: Readonly<Record<string, string>> = {
  pnlSeries: ', bucket: { size: "1d" }',
};

function documentOf(root: string, { field, type }: FilterList): string {
  return `${root} ($where: ${type}) {
    ${field}(account: "main", where: $where${FURTHER[field] ?? ''}) { __typename } }`;
}

const filterOf = ({ list, item }: FilterList, count: number) => ({
  [list]: Array.from({ length: count }, () => item),
});

describe('a filter of a query', () => {
  it.each(listsOf('query').map((one) => [one.field, one.list, one] as const))(
    'takes 500 entries and not one more: %s, %s',
    async (_field, list, one) => {
      const query = documentOf('query', one);
      const refused = await server.request(query, { where: filterOf(one, FILTER_ENTRIES_MAX + 1) });
      expect(refused.errors.map(({ extensions }) => extensions)).toMatchObject([
        { code: 'BAD_INPUT', path: ['where', list], entriesMax: FILTER_ENTRIES_MAX },
      ]);
      // What the entries are is another question.
      const { errors } = await server.request(query, { where: filterOf(one, FILTER_ENTRIES_MAX) });
      for (const { extensions } of errors) expect(extensions.entriesMax).toBeUndefined();
    },
  );
});

describe('a filter of a subscription', () => {
  it.each(listsOf('subscription').map((one) => [one.field, one.list, one] as const))(
    'takes 500 entries and not one more: %s, %s',
    async (_field, list, one) => {
      const socket = await connectSocket(server);
      const query = documentOf('subscription', one);
      const subscribe = async (id: string, count: number) => {
        const payload = { query, variables: { where: filterOf(one, count) } };
        socket.send({ type: 'subscribe', id, payload });
        return socket.next(id);
      };
      expect(await subscribe('above', FILTER_ENTRIES_MAX + 1)).toMatchObject({
        payload: { errors: [{ extensions: { code: 'BAD_INPUT', path: ['where', list] } }] },
      });
      const { payload } = await subscribe('at', FILTER_ENTRIES_MAX);
      expect(JSON.stringify(payload)).not.toContain('entriesMax');
      socket.close();
    },
  );
});

it('takes as much of what is to be canceled, and stores nothing', async () => {
  const query = `mutation ($input: CancelOrdersInput!) { cancelOrders(input: $input) { __typename } }`;
  const cancel = (count: number) => {
    const symbols = Array.from({ length: count }, () => 'BTCUSDT');
    return server.request(query, { input: { account: 'main', where: { symbols } } });
  };
  const { errors } = await cancel(FILTER_ENTRIES_MAX + 1);
  expect(errors[0]?.extensions).toMatchObject({
    code: 'BAD_INPUT',
    path: ['input', 'where', 'symbols'],
    executed: 'NO',
  });
  expect((await cancel(FILTER_ENTRIES_MAX)).errors).toEqual([]);
});
