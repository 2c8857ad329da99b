import fc from 'fast-check';
import { buildSchema, execute, parse } from 'graphql';
import { describe, expect, it } from 'vitest';
import { executeFast } from '../../coercion.ts';

const schema = buildSchema(`
  enum Side { LONG SHORT }
  input Leaf { name: String! = "none", share: Float, side: Side, count: Int! }
  input Tree { leaf: Leaf, leaves: [Leaf!], rows: [[Int]], next: Tree, flag: Boolean = true }
  input One @oneOf { a: Int, b: String }
  type Query {
    show(tree: Tree, leaf: Leaf!, one: One, times: Int = 3, list: [Leaf!]): String
  }
`);

const document = parse(`
  query A($tree: Tree, $leaf: Leaf!, $one: One, $times: Int, $list: [Leaf!], $name: String!) {
    show(tree: $tree, leaf: $leaf, one: $one, times: $times, list: $list)
    other: show(leaf: { name: $name, count: 1 }, list: $list)
  }
  query B { show(leaf: { count: 1 }) }
`);

/** What is answered, and what the resolver was given, by each of the two. */
async function both(variableValues: Record<string, unknown>, operationName: string | null = 'A') {
  const run = async (one: typeof execute) => {
    const show = (args: unknown) => JSON.stringify(args, sorted);
    const args = { schema, document, operationName, variableValues, rootValue: { show } };
    return JSON.parse(JSON.stringify(await one(args)));
  };
  return { fast: await run(executeFast), plain: await run(execute) };
}

/** The order of names in an object is nobody's business. */
function sorted(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const scalar = fc.oneof(
  fc.constantFrom<unknown>(null, 1, 1.5, 'x', 'LONG', 'WIDE', true, 2 ** 40, ''),
  fc.constant([]),
);
const leaf = fc.oneof(
  { weight: 9, arbitrary: fc.record({ count: fc.constant(1), name: fc.constant('n') }) },
  fc.record(
    { name: scalar, share: scalar, side: scalar, count: scalar, unknown: scalar },
    { requiredKeys: [] },
  ),
  scalar,
);
const tree = fc.oneof(
  scalar,
  fc.record(
    {
      leaf,
      leaves: fc.oneof(fc.array(leaf, { maxLength: 3 }), leaf),
      rows: fc.oneof(fc.array(fc.oneof(fc.array(scalar), scalar)), scalar),
      next: fc.record({ leaf, flag: scalar }, { requiredKeys: [] }),
      flag: scalar,
    },
    { requiredKeys: [] },
  ),
);
const variables = fc.record(
  {
    tree,
    leaf,
    one: fc.oneof(scalar, fc.record({ a: scalar, b: scalar }, { requiredKeys: [] })),
    times: scalar,
    list: fc.oneof(fc.array(leaf, { maxLength: 3 }), leaf),
    name: fc.constantFrom<unknown>('x', 'x', null),
  },
  { requiredKeys: [] },
);

describe('executeFast', () => {
  it('accepts, coerces and refuses as graphql-js does', async () => {
    await fc.assert(
      fc.asyncProperty(variables, async (given) => {
        const { fast, plain } = await both(given);
        expect(fast).toEqual(plain);
      }),
      { numRuns: 2000 },
    );
  });

  it('coerces a valid nest of input objects and keeps its defaults', async () => {
    const leafValue = { count: 2, side: 'SHORT' };
    const { fast } = await both({
      leaf: leafValue,
      tree: { leaves: leafValue, next: { next: { flag: null } } },
      name: 'given',
    });
    expect(fast.errors).toBeUndefined();
    expect(JSON.parse(fast.data.show)).toEqual({
      leaf: { count: 2, side: 'SHORT', name: 'none' },
      times: 3,
      tree: {
        flag: true,
        leaves: [{ count: 2, side: 'SHORT', name: 'none' }],
        next: { flag: true, next: { flag: null } },
      },
    });
  });

  it('leaves an operation without input objects in its variables to graphql-js', async () => {
    const { fast, plain } = await both({}, 'B');
    expect(fast).toEqual(plain);
  });

  it('says as graphql-js does that an operation is not there', async () => {
    const { fast, plain } = await both({}, 'C');
    expect(fast).toEqual(plain);
    expect(fast.errors[0].message).toContain('C');
  });
});
