import {
  GraphQLError,
  GraphQLScalarType,
  Kind,
  print,
  type ConstValueNode,
  type ValueNode,
} from 'graphql';
import { parseDecimal } from '../datasources/decimal.ts';
import { quote } from '../datasources/id.ts';
import { parseInstant } from '../datasources/instant.ts';
import { builder } from './builder.ts';

const DECIMAL_NEEDS = 'a decimal with at most 20 integer and 18 fraction digits, as a string';

function refuse(found: unknown, needed: string): never {
  throw new GraphQLError(`${describe(found)} is not ${needed}.`, {
    extensions: { code: 'BAD_INPUT' },
  });
}

function describe(found: unknown): string {
  if (typeof found === 'string') return quote(found);
  if (typeof found === 'object' && found !== null) return 'An object or a list';
  return String(found);
}

function refuseLiteral(node: ConstValueNode | ValueNode, needed: string): never {
  throw new GraphQLError(`${quote(print(node))} is not ${needed}.`, {
    nodes: [node],
    extensions: { code: 'BAD_INPUT' },
  });
}

function toDecimal(text: string): string {
  return parseDecimal(text) ?? refuse(text, DECIMAL_NEEDS);
}

const DecimalScalar = new GraphQLScalarType<string, string>({
  name: 'Decimal',
  description:
    'An exact decimal number, up to 20 integer and 18 fraction digits. It comes out as a string in ' +
    'its shortest form and goes in as a string; a literal keeps its digits. A JSON number is taken ' +
    'only when it is a safe integer: any other has lost digits before it arrived.',
  coerceOutputValue: (value) => String(value),
  coerceInputValue: (value) => {
    if (typeof value === 'string') return toDecimal(value);
    if (typeof value === 'number' && Number.isSafeInteger(value)) return toDecimal(String(value));
    return refuse(value, `${DECIMAL_NEEDS} (a JSON number must be a safe integer)`);
  },
  coerceInputLiteral: (node) => {
    if (node.kind === Kind.STRING || node.kind === Kind.INT || node.kind === Kind.FLOAT) {
      return toDecimal(node.value);
    }
    return refuseLiteral(node, DECIMAL_NEEDS);
  },
});

const INSTANT_NEEDS = 'an RFC 3339 instant with at most six fraction digits';

/** The items of a batch often have one instant. */
let last = { text: '', instant: '' };

function toInstant(value: unknown): string {
  if (typeof value !== 'string') return refuse(value, INSTANT_NEEDS);
  if (value === last.text && value !== '') return last.instant;
  const instant = parseInstant(value) ?? refuse(value, INSTANT_NEEDS);
  last = { text: value, instant };
  return instant;
}

const DateTimeScalar = new GraphQLScalarType<string, string>({
  name: 'DateTime',
  description:
    'An instant, RFC 3339. It comes out in UTC with six fraction digits, always of one width, so ' +
    'that instants compare as text; it goes in with any offset. Microseconds are kept.',
  coerceOutputValue: (value) => String(value),
  coerceInputValue: toInstant,
  coerceInputLiteral: (node) =>
    node.kind === Kind.STRING ? toInstant(node.value) : refuseLiteral(node, INSTANT_NEEDS),
});

const INTEGER = /^-?\d{1,19}$/;

const BigIntScalar = new GraphQLScalarType<string, string>({
  name: 'BigInt',
  description: 'A whole number beyond 2^53, as a string.',
  coerceOutputValue: (value) => String(value),
  coerceInputValue: (value) => {
    const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
    if (typeof text === 'string' && INTEGER.test(text)) return text;
    return refuse(value, 'a whole number, as a string');
  },
  coerceInputLiteral: (node) => {
    const isNumeric = node.kind === Kind.STRING || node.kind === Kind.INT;
    if (isNumeric && INTEGER.test(node.value)) return node.value;
    return refuseLiteral(node, 'a whole number, as a string');
  },
});

function literalValue(node: ValueNode): unknown {
  switch (node.kind) {
    case Kind.NULL:
      return null;
    case Kind.INT:
    case Kind.FLOAT:
      return Number(node.value);
    case Kind.STRING:
    case Kind.BOOLEAN:
    case Kind.ENUM:
      return node.value;
    case Kind.LIST:
      return node.values.map(literalValue);
    case Kind.OBJECT:
      return Object.fromEntries(
        node.fields.map((field) => [field.name.value, literalValue(field.value)]),
      );
    default:
      // graphql replaces variables inside a literal before a scalar sees it.
      return refuseLiteral(node, 'a JSON value');
  }
}

const JsonScalar = new GraphQLScalarType<unknown, unknown>({
  name: 'JSON',
  description: 'Any JSON value. Amounts inside it are strings.',
  coerceOutputValue: (value) => value,
  coerceInputValue: (value) => value,
  coerceInputLiteral: (node) => literalValue(node),
});

const ColumnScalar = new GraphQLScalarType<unknown, unknown>({
  name: 'Column',
  description:
    'One column of a frame: a JSON array with a value for each row, oldest first. Ids, instants and ' +
    'enums are strings, as elsewhere in this schema; decimals are strings or, with `decimals: ' +
    'FLOAT`, numbers; null where there is no value.',
  coerceOutputValue: (value) => value,
  coerceInputValue: (value) => refuse(value, 'an input: a column only comes out'),
  coerceInputLiteral: (node) => refuseLiteral(node, 'an input: a column only comes out'),
});

builder.addScalarType('Decimal', DecimalScalar);
builder.addScalarType('DateTime', DateTimeScalar);
builder.addScalarType('BigInt', BigIntScalar);
builder.addScalarType('JSON', JsonScalar);
builder.addScalarType('Column', ColumnScalar);
