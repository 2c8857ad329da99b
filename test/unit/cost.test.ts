import { getIntrospectionQuery, parse } from 'graphql';
import { describe, expect, it } from 'vitest';
import { type Cost, costOf, LIST_LENGTH } from '../../cost.ts';
import { NODES_MAX, VALUES_MAX } from '../../limits.ts';
import { createSchema } from '../../schema/schema.ts';

const schema = createSchema();

function cost(text: string, variableValues: Record<string, unknown> = {}): Cost {
  const found = costOf({ schema, document: parse(text), variableValues });
  if (found === null) throw new Error('there is no such operation');
  return found;
}

const nodes = (text: string, variables = {}): number => cost(text, variables).nodes;

describe('the nodes of an operation', () => {
  it('are the objects along each path, multiplied by the pages', () => {
    expect(nodes('{ positions(first: 500) { nodes { id account { id } } } }')).toBe(1 + 500 + 500);
    expect(nodes('{ orders(last: 3) { edges { node { id } } pageInfo { hasNextPage } } }')).toBe(
      1 + 3 + 3 + 1,
    );
    expect(nodes('{ viewer { role } }')).toBe(1);
  });

  it.each([
    ['a page that does not say how long it is', '{ orders { nodes { id } } }', 1 + 50],
    ['the log', '{ changes { nodes { seq } } }', 1 + 100],
    ['candles', '{ candles(exchange: "a", symbol: "B", interval: "1m") { open } }', 500],
    ['a page of null', '{ orders(first: null) { nodes { id } } }', 1 + 50],
    [
      'a list without a page',
      '{ orders(first: 2) { nodes { trades { id } } } }',
      3 + 2 * LIST_LENGTH,
    ],
    [
      'a page in a page',
      '{ positions(first: 2) { nodes { changes(first: 9) { nodes { seq } } } } }',
      23,
    ],
    ['named things', '{ nodes(ids: ["a", "b", "c"]) { id } }', 3],
    ['one named thing', '{ node(id: "a") { id } }', 1],
  ])('of %s are counted', (_what, text, expected) => {
    expect(nodes(text)).toBe(expected);
  });

  it('follow variables, their defaults, and what is neither', () => {
    const text =
      'query ($n: Int = 7, $ids: [ID!]!) { orders(first: $n) { nodes { id } } nodes(ids: $ids) { id } }';
    expect(nodes(text, { ids: ['a', 'b'] })).toBe(1 + 7 + 2);
    expect(nodes(text, { ids: ['a'], n: 400 })).toBe(1 + 400 + 1);
    expect(nodes(text, { ids: ['a'], n: null })).toBe(1 + 50 + 1);
  });

  it('of absurd pages stay small enough for the words of the resolver', () => {
    expect(nodes('{ orders(first: 2000000000) { nodes { id } } }')).toBe(1 + 5000);
    expect(nodes('{ orders(first: -5) { nodes { id } } }')).toBe(1);
  });

  it('are summed over aliases, fragments and inline fragments', () => {
    const one = nodes('{ orders(first: 10) { nodes { trades { id } } } }');
    expect(
      nodes(`{
        a: orders(first: 10) { nodes { ...more } }
        ... on Query { b: orders(first: 10) { ... { nodes { ... on Order { trades { id } } } } } }
        ...rest
      }
      fragment more on Order { trades { id } }
      fragment rest on Query { c: orders(first: 10) { nodes { ...more } } }`),
    ).toBe(3 * one);
  });

  it('that are skipped are not counted', () => {
    const text = `query ($on: Boolean! = false) {
      orders(first: 10) { nodes { id trades @include(if: $on) { id } ...more @skip(if: true) } }
    }
    fragment more on Order { position { id } }`;
    expect(nodes(text)).toBe(1 + 10);
    expect(nodes(text, { on: true })).toBe(1 + 10 + 10 * LIST_LENGTH);
  });

  it('of the answer to a batch follow its items, in variables and literals', () => {
    const text =
      'mutation ($input: OpenPositionsInput!) { openPositions(input: $input) { results { position { trades { id } } } } }';
    const input = { account: 'main', items: Array.from({ length: 30 }, () => ({})) };
    const expected = 1 + 30 + 30 + 30 * LIST_LENGTH;
    expect(cost(text, { input })).toMatchObject({ nodes: expected, items: 30 });
    const literal = 'mutation { cancelOrders(input: { ids: ["a", "b"] }) { results { index } } }';
    expect(cost(literal)).toMatchObject({ nodes: 1 + 2, items: 2 });
  });

  it('of a subscription are those of one event', () => {
    expect(nodes('subscription { positionChanges { position { trades { id } } } }')).toBe(
      2 + LIST_LENGTH,
    );
  });
});

it('counts every field of every object', () => {
  expect(cost('{ orders(first: 10) { nodes { id symbol account { id } } } }').values).toBe(
    1 + 10 * 3 + 10 * 2,
  );
});

describe('what is asked for in earnest passes', () => {
  it.each([
    [
      'a page of positions with their account',
      '{ positions(first: 500) { nodes { id account { id name } } } }',
    ],
    [
      '500 orders, each with its trades',
      '{ orders(first: 500) { nodes { id symbol trades { id price quantity } } } }',
    ],
    [
      'positions with orders and trades',
      '{ positions(first: 500) { nodes { id orders { id } trades { id } } } }',
    ],
    [
      'predictions with their outcomes',
      '{ predictions(first: 500) { nodes { id horizons { outcome { correct } } } } }',
    ],
    ['introspection', getIntrospectionQuery({ inputValueDeprecation: true, specifiedByUrl: true })],
  ])('%s', (_what, text) => {
    const { nodes: made, values } = cost(text);
    expect(made).toBeLessThan(NODES_MAX / 2);
    expect(values).toBeLessThan(VALUES_MAX / 2);
  });
});

it('finds the operation that is named, and none that is not there', () => {
  const document = parse('query a { viewer { role } } query b { orders { nodes { id } } }');
  expect(costOf({ schema, document, operationName: 'b' })?.nodes).toBe(51);
  expect(costOf({ schema, document, operationName: 'c' })).toBeNull();
});
