import { describe, expect, it } from 'vitest';
import { JsonText, joinArrays, stringifyInPieces } from '../../../datasources/json-text.ts';

const column = (text: string) => new JsonText(Buffer.from(text));
const textOf = (value: unknown) => Buffer.concat(stringifyInPieces(value)).toString();

describe('stringifyInPieces', () => {
  it('passes the bytes of columns on as they are', () => {
    const prices = column('["1.50",  null]');
    const pieces = stringifyInPieces({ data: { a: prices, n: 1, b: prices } });
    expect(pieces.filter((piece) => piece === prices.pieces[0])).toHaveLength(2);
    const expected = '{"data":{"a":["1.50",  null],"n":1,"b":["1.50",  null]}}';
    expect(Buffer.concat(pieces).toString()).toBe(expected);
  });

  it.each([
    ['no column', { data: { a: 'ż"\\', b: [1, null] } }],
    ['nothing', null],
  ])('makes what JSON.stringify makes of %s', (_what, value) => {
    expect(textOf(value)).toBe(JSON.stringify(value));
  });

  it('leaves texts alone that look like what it uses itself', () => {
    const value = {
      text: 'c0ffee00-0000-4000-8000-000000000000',
      column: column('[1]'),
      more: '"',
    };
    expect(JSON.parse(textOf(value))).toEqual({ ...value, column: [1] });
  });

  it('leaves nothing behind when something cannot be written', () => {
    const circular: Record<string, unknown> = { column: column('[1]') };
    circular.self = circular;
    expect(() => stringifyInPieces(circular)).toThrow(TypeError);
    expect(JSON.stringify(column('[1]'))).toBe('[1]');
  });
});

describe('a column', () => {
  it('is its value for whatever else makes JSON of it', () => {
    expect(JSON.stringify({ a: column('[1, "x"]') })).toBe('{"a":[1,"x"]}');
  });
});

describe('joined arrays', () => {
  const joinedOf = (...texts: string[]) => joinArrays(texts.map((text) => Buffer.from(text)));

  it.each<[string[], string]>([
    [[], '[]'],
    [['["a]", null]'], '["a]", null]'],
    [['[1]', '["["]', '[null,  3]'], '[1,"[",null,  3]'],
  ])('of %j are %s', (texts, expected) => {
    expect(textOf(joinedOf(...texts))).toBe(expected);
    expect(JSON.stringify(joinedOf(...texts))).toBe(JSON.stringify(JSON.parse(expected)));
    expect(joinedOf(...texts)).toHaveLength(expected.length);
  });
});
