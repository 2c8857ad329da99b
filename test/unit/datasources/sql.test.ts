import { describe, expect, it } from 'vitest';
import { arrayLiteral, parseArray, parseInstant } from '../../../datasources/postgres-types.ts';
import {
  type CompiledStatement,
  createSql,
  fragment,
  identifier,
  joined,
  type Rows,
} from '../../../datasources/sql.ts';

const noRows = Object.assign([], { count: 0, command: 'SELECT' }) as Rows<unknown>;

function recordingSql() {
  const statements: CompiledStatement[] = [];
  const sql = createSql(async (statement) => {
    statements.push(statement);
    return noRows;
  });
  return { sql, statements };
}

describe('fragments', () => {
  it('are joined with their values in order', async () => {
    const { sql, statements } = recordingSql();
    const parts = [fragment`${1} as a`, fragment`${'b'} as ${identifier('modelVersion')}`];
    await sql`select ${joined(parts, ', ')} where ${0} ${joined([], ' and ')}`;
    expect(statements[0]).toMatchObject({
      text: 'select $1 as a, $2 as "modelVersion" where $3 ',
      parameters: [1, 'b', 0],
    });
  });

  it.each(['', '1a', 'a"b', 'a b', 'ä', 'a'.repeat(64)])('take no name like %o', (name) => {
    expect(() => identifier(name)).toThrow('is no name of a column');
  });

  it('cannot be run', async () => {
    await expect(Promise.resolve().then(() => identifier('a'))).rejects.toThrow(
      'a fragment is part',
    );
  });
});

describe('a template', () => {
  it('tells its runner that its rows are to be left as they are sent', async () => {
    const { sql, statements } = recordingSql();
    await sql`select ${1}`.raw();
    expect(statements).toEqual([
      { name: 'unnamed', text: 'select $1', parameters: [1], isRaw: true },
    ]);
  });

  it('makes values parameters and never text', async () => {
    const { sql, statements } = recordingSql();
    await sql`/* a.find */ select * from a where b = ${"'; drop"} and c = any(${['x', null]}::text[])`;
    expect(statements).toEqual([
      {
        name: 'a.find',
        text: '/* a.find */ select * from a where b = $1 and c = any($2::text[])',
        parameters: ["'; drop", ['x', null]],
      },
    ]);
  });

  it('numbers the parameters of fragments, nested ones too, in the order of the text', async () => {
    const { sql, statements } = recordingSql();
    const inner = fragment`c = ${3}`;
    await sql`select ${1} where ${fragment`b = ${2} and ${inner}`} limit ${4}`;
    expect(statements[0]).toMatchObject({
      name: 'unnamed',
      text: 'select $1 where b = $2 and c = $3 limit $4',
      parameters: [1, 2, 3, 4],
    });
  });

  it('is not run before it is awaited', async () => {
    const { sql, statements } = recordingSql();
    const statement = sql`select 1`;
    expect(statements).toHaveLength(0);
    await statement;
    expect(statements).toHaveLength(1);
  });

  it.each([
    ['undefined', undefined, 'undefined is no value of SQL'],
    ['an array of booleans', [true, false], 'booleans are sent as an array of text'],
    ['an array with undefined', ['a', undefined], 'undefined is no item of a SQL array'],
  ])('refuses %s', (_what, value, message) => {
    const { sql } = recordingSql();
    // The types refuse it too; a value of a cast or of JavaScript gets here.
    expect(() => sql`select ${value as never}`.compile()).toThrow(message);
  });

  it('refuses to run a fragment', () => {
    expect(() => fragment`select 1`.then()).toThrow('cannot be run');
  });
});

describe('arrayLiteral', () => {
  it.each([
    [[], '{}'],
    [['a', null, 'NULL', ''], '{"a",NULL,"NULL",""}'],
    [['say "hi"', 'back\\slash', 'a,b', '{x}'], '{"say \\"hi\\"","back\\\\slash","a,b","{x}"}'],
    [[1, -2.5, 1e21], '{1,-2.5,1e+21}'],
  ])('writes %j', (items, literal) => {
    expect(arrayLiteral(items)).toBe(literal);
  });

  it('is read back by parseArray', () => {
    const items = ['', 'NULL', 'null', '"', '\\', '\\"', 'a b', 'ü\n€', '{},', null];
    expect(parseArray(arrayLiteral(items), (item) => item)).toEqual(items);
  });
});

describe('parseInstant', () => {
  it.each([
    ['2026-11-23 04:46:08+00', '2026-11-23T04:46:08.000000Z'],
    ['2026-11-23 04:46:08.12+00', '2026-11-23T04:46:08.120000Z'],
    ['2026-11-23 04:46:08.123456+00', '2026-11-23T04:46:08.123456Z'],
    ['0001-01-01 00:00:00.000001+00', '0001-01-01T00:00:00.000001Z'],
  ])('gives %s six digits and a Z', (sent, instant) => {
    expect(parseInstant(sent)).toBe(instant);
  });

  it.each(['infinity', '-infinity', '10000-01-01 00:00:00+00', '0001-01-01 00:00:00+00 BC'])(
    'leaves %s as it was sent',
    (sent) => {
      expect(parseInstant(sent)).toBe(sent);
    },
  );
});
