import { readFileSync } from 'node:fs';
import { buildSchema, parse, validate } from 'graphql';
import { describe, expect, it } from 'vitest';
import * as documents from '../../../../cli/demo/documents.ts';

const schema = buildSchema(readFileSync('schema/schema.graphql', 'utf8'));
const fields = [
  'cancels',
  'orders',
  'reports',
  'fills',
  'positions',
  'signals',
  'balances',
] as const;

describe('documents', () => {
  it('asks for nothing that the schema does not have', () => {
    const texts = Object.values(documents).filter((value) => typeof value === 'string');
    expect(texts.length).toBeGreaterThan(5);
    for (const text of texts) expect(validate(schema, parse(text))).toEqual([]);
  });

  it('makes a valid unit of any of its fields', () => {
    for (let bits = 1; bits < 2 ** fields.length; bits += 1) {
      const wanted = fields.filter((_field, index) => (bits & (1 << index)) !== 0);
      const text = documents.tradeDocument(new Set(wanted));
      expect(validate(schema, parse(text)), wanted.join()).toEqual([]);
    }
  });
});
