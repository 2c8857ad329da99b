import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSchema, findBreakingChanges } from 'graphql';
import { describe, expect, it } from 'vitest';
import { printedSchema } from '../../../cli/schema.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const CONTRACT = join(ROOT, '..', 'shared', 'contract.graphql');

describe('the schema', () => {
  it('is the committed file', () => {
    expect(readFileSync(join(ROOT, 'schema', 'schema.graphql'), 'utf8')).toBe(printedSchema());
  });

  it.skipIf(!existsSync(CONTRACT))(
    'differs from the contract only where something is missing',
    () => {
      const contract = buildSchema(readFileSync(CONTRACT, 'utf8'));
      const changes = findBreakingChanges(contract, buildSchema(printedSchema()));
      const kinds = new Set<string>(changes.map((change) => change.type));
      // The contract is completed issue by issue; what is there has its names and its nullability.
      expect([...kinds].filter((kind) => !kind.endsWith('_REMOVED'))).toEqual([]);
    },
  );
});
