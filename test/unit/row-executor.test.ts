import fc from 'fast-check';
import {
  buildSchema,
  type DocumentNode,
  execute,
  type GraphQLObjectType,
  type GraphQLScalarType,
  parse,
} from 'graphql';
import { describe, expect, it } from 'vitest';
import { executeRows } from '../../row-executor.ts';

const schema = buildSchema(`
  scalar Amount
  enum Side { LONG SHORT }
  type Row {
    id: ID!
    side: Side
    amount: Amount
    must: Int!
    twice: Int
    tags: [String]
    next: Row
    named(as: String = "x"): String
  }
  type Query { rows: [Row], sure: [Row!], one: Row }
`);
// A scalar that refuses, and a resolver that takes the row alone.
Object.assign(schema.getType('Amount') as GraphQLScalarType, {
  coerceOutputValue: (value: unknown) => {
    if (value === 'refused') throw new Error('refused');
    return value === 'gone' ? undefined : `#${value}`;
  },
});
const { id, twice, named, ...exposed } = (schema.getType('Row') as GraphQLObjectType).getFields();
// As the builder of the schema marks them.
for (const field of Object.values(exposed)) {
  Object.assign(field, { extensions: { pothosExposedField: field.name } });
}
Object.assign(id ?? {}, { resolve: (row: { readonly key: unknown }) => row.key });
Object.assign(twice ?? {}, {
  resolve: async (row: { readonly must: number }) => row.must * 2,
});
Object.assign(named ?? {}, { resolve: (_row: unknown, args: { as: string }) => args.as });

const DOCUMENTS: readonly DocumentNode[] = [
  '{ rows { id side amount must } sure { __typename id must } one { id amount } }',
  '{ rows { a: id b: id must } one { must twice next { id side } } }',
  '{ rows { named(as: "y") id } one { tags __proto__: id } }',
  `query ($is: Boolean = false) { rows { id must @include(if: $is) ...Part } sure { ...Part } }
   fragment Part on Row { side next { amount } }`,
].map((text) => parse(text));

const value = fc.constantFrom<unknown>(
  null,
  undefined,
  1,
  'x',
  'LONG',
  'refused',
  'gone',
  true,
  Number.NaN,
  new Error('as a value'),
  Promise.resolve(1),
);
const good = fc.record({
  key: fc.constant('k'),
  side: fc.constantFrom('LONG', null),
  amount: fc.constantFrom('1', null),
  must: fc.constant(7),
  tags: fc.constant(['a']),
});
const bad = fc.record(
  { key: value, side: value, amount: value, must: value, tags: value, next: fc.oneof(good, value) },
  { requiredKeys: [] },
);
const row = fc.oneof({ weight: 3, arbitrary: good }, bad, value);
const root = fc.record({ rows: fc.array(row), sure: fc.array(row), one: row });

async function textOf(run: typeof execute, document: DocumentNode, rootValue: unknown) {
  const { data, errors } = await run({ schema, document, rootValue });
  const sorted = errors?.map((error) => JSON.stringify(error)).sort();
  return JSON.stringify({ data, errors: sorted });
}

describe('executeRows', () => {
  it('answers as graphql-js does, errors and all', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...DOCUMENTS), root, async (document, rootValue) => {
        const fast = await textOf(executeRows, document, rootValue);
        expect(fast).toBe(await textOf(execute, document, rootValue));
      }),
      { numRuns: 500 },
    );
  });

  it('makes rows of plain values, and leaves others to graphql-js', async () => {
    const rootValue = { rows: [{ key: 1, side: 'LONG', must: 1 }, { key: 2 }] };
    const [first, second] = await rowsOf('{ rows { id must } }', rootValue);
    // graphql-js makes objects without a prototype.
    expect(Object.getPrototypeOf(first)).toBe(Object.prototype);
    expect(second).toBeNull();
    const document = '{ rows { twice id named must } }';
    const [mixed] = await rowsOf(document, rootValue);
    expect(Object.entries(mixed ?? {})).toEqual([
      ['twice', 2],
      ['id', '1'],
      ['named', 'x'],
      ['must', 1],
    ]);
  });
});

async function rowsOf(text: string, rootValue: unknown): Promise<readonly (object | null)[]> {
  const { data } = await executeRows({ schema, document: parse(text), rootValue });
  return Array.isArray(data?.rows) ? data.rows : [];
}
