import {
  execute,
  GraphQLInterfaceType,
  GraphQLList,
  GraphQLObjectType,
  GraphQLSchema,
  GraphQLString,
  parse,
} from 'graphql';
import { describe, expect, it } from 'vitest';
import type { Budget } from '../../context.ts';
import { boundLists, createBudget, NODES_MAX, VALUES_MAX } from '../../limits.ts';
import { makeCall } from '../support/call.ts';

const TOO_EXPENSIVE = expect.objectContaining({ code: 'QUERY_TOO_EXPENSIVE' });

describe('a budget', () => {
  it('is used up above its bound of items, for good', () => {
    const budget = createBudget(makeCall());
    budget.take(NODES_MAX, 1);
    expect(() => budget.take(1, 1)).toThrow(TOO_EXPENSIVE);
    expect(() => budget.take(0, 0)).toThrow(TOO_EXPENSIVE);
  });

  it('is used up above its bound of values', () => {
    const budget = createBudget(makeCall());
    budget.take(1, VALUES_MAX);
    expect(() => budget.take(1, 1)).toThrow(TOO_EXPENSIVE);
  });

  it('tells each read how many rows there may still be, and none at once with another', async () => {
    const budget = createBudget(makeCall());
    const asked: number[] = [];
    const read = (length: number) => async (rowsMax: number) => {
      asked.push(rowsMax);
      return Array.from({ length });
    };
    const rows = await Promise.all([
      budget.takeRows(read(NODES_MAX - 1)),
      budget.takeRows(read(0)),
      budget.takeRows(read(1)),
    ]);
    expect(rows.map(({ length }) => length)).toEqual([NODES_MAX - 1, 0, 1]);
    expect(asked).toEqual([NODES_MAX + 1, 2, 2]);
    await expect(budget.takeRows(read(1))).rejects.toEqual(TOO_EXPENSIVE);
  });

  it('is not harmed by a read that fails', async () => {
    const budget = createBudget(makeCall());
    const failed = budget.takeRows(() => Promise.reject(new Error('lost')));
    const read = budget.takeRows(async () => [1]);
    await expect(failed).rejects.toThrow('lost');
    expect(await read).toEqual([1]);
  });

  it('begins anew for each event', async () => {
    const budget = createBudget(makeCall());
    for (let event = 0; event < 3; event += 1) {
      budget.begin();
      budget.take(NODES_MAX, VALUES_MAX);
      expect(await budget.takeRows(async (rowsMax) => [rowsMax])).toEqual([NODES_MAX + 1]);
    }
  });

  it('ends with the time of its operation, and when its client has gone', () => {
    expect(() => createBudget(makeCall()).assertInTime()).not.toThrow();
    expect(() => createBudget(makeCall({ deadlineMs: 0 })).assertInTime()).toThrow(
      expect.objectContaining({ code: 'DEADLINE_EXCEEDED' }),
    );
    const gone = makeCall({ signal: AbortSignal.abort() });
    expect(() => createBudget(gone).assertInTime()).toThrow(
      expect.objectContaining({ code: 'DEADLINE_EXCEEDED' }),
    );
  });
});

describe('the lists of a schema', () => {
  const node = new GraphQLInterfaceType({ name: 'Node', fields: { id: { type: GraphQLString } } });
  let resolved = 0;
  const row: GraphQLObjectType = new GraphQLObjectType({
    name: 'Row',
    interfaces: [node],
    fields: () => ({
      id: { type: GraphQLString },
      rows: {
        type: new GraphQLList(row),
        resolve: async () => {
          resolved += 1;
          return [{}, {}];
        },
      },
    }),
  });
  const list = { type: new GraphQLList(row), resolve: () => [{}, {}, {}] };
  const query = new GraphQLObjectType({
    name: 'Query',
    fields: { list, none: { ...list, resolve: () => null } },
  });
  const schema = new GraphQLSchema({ query });
  boundLists(schema);

  async function run(text: string, changes: Partial<Budget> = {}) {
    const taken: (readonly [number, number])[] = [];
    resolved = 0;
    const take = (items: number, values: number) => void taken.push([items, values]);
    const budget = { ...createBudget(makeCall()), take, ...changes };
    const result = await execute({ schema, document: parse(text), contextValue: { budget } });
    return { taken, result };
  }

  it('are counted, each with what is in it', async () => {
    const { taken } = await run('{ list { rows { id } } none { id } }');
    expect(taken.map(([items]) => items)).toEqual([3, 2, 2, 2]);
  });

  it('of rows are not resolved once the time is over', async () => {
    const assertInTime = () => {
      throw new Error('late');
    };
    const { result } = await run('{ list { rows { id } } }', { assertInTime });
    expect(resolved).toBe(0);
    expect(result).toMatchObject({
      data: { list: [{ rows: null }, { rows: null }, { rows: null }] },
    });
  });
});
