import { describe, expect, it } from 'vitest';
import { nameColumns } from '../../../datasources/row-maker.ts';

function rowsOf(names: readonly string[], ...rows: unknown[][]) {
  return Object.assign(rows, { count: rows.length, columns: names.map((name) => ({ name })) });
}

describe('nameColumns', () => {
  it('makes each list of values an object, in the order of the columns', () => {
    const rows = nameColumns(rowsOf(['id', 'openedAt'], ['a', null], ['b', 1]));
    expect([...rows]).toEqual([
      { id: 'a', openedAt: null },
      { id: 'b', openedAt: 1 },
    ]);
    expect(Object.keys(rows[0] as object)).toEqual(['id', 'openedAt']);
  });

  it('keeps what the driver says of all rows', () => {
    expect(nameColumns(rowsOf(['id'], ['a']))).toMatchObject({ count: 1 });
  });

  it('does not mix up statements that have as many columns', () => {
    nameColumns(rowsOf(['id', 'price'], ['a', '1']));
    expect(nameColumns(rowsOf(['price', 'id'], ['2', 'b']))[0]).toEqual({ price: '2', id: 'b' });
  });

  it.each([
    ['?column?'],
    ['a: 1, b'],
    ['x]; throw new Error("run"); ['],
    ['__proto__'],
    ['größe'],
    ['1st'],
    [''],
  ])('takes %j for a name and nothing else', (name) => {
    const [row] = nameColumns(rowsOf([name, 'id'], ['value', 'a']));
    expect(Object.entries(row as object).toSorted()).toEqual(
      [
        [name, 'value'],
        ['id', 'a'],
      ].toSorted(),
    );
    expect(Object.getPrototypeOf(row)).toBe(Object.prototype);
  });

  it.each([['class'], ['default'], ['constructor']])('takes the word %j as a name', (name) => {
    expect(nameColumns(rowsOf([name], ['value']))[0]).toEqual({ [name]: 'value' });
  });

  it('gives the last of two columns of one name, as the driver does', () => {
    expect(nameColumns(rowsOf(['id', 'id'], ['a', 'b']))[0]).toEqual({ id: 'b' });
  });

  it('needs no columns where there are no rows', () => {
    expect(nameColumns(Object.assign([], { columns: null }))).toHaveLength(0);
  });
});
