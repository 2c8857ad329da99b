import SchemaBuilder from '@pothos/core';
import DataloaderPlugin from '@pothos/plugin-dataloader';
import type { Context } from '../context.ts';

/** The one builder; every file of this folder adds to it. Fields are non-null unless said. */
export const builder = new SchemaBuilder<{
  Context: Context;
  DefaultFieldNullability: false;
  Scalars: {
    ID: { Input: string; Output: string };
    Decimal: { Input: string; Output: string };
    DateTime: { Input: string; Output: string };
    BigInt: { Input: string; Output: string };
    JSON: { Input: unknown; Output: unknown };
    Column: { Input: never; Output: unknown };
  };
}>({
  plugins: [DataloaderPlugin],
  defaultFieldNullability: false,
});

/** Rows that one loader asks for in one statement. */
export const LOADER_BATCH_MAX = 1000;

builder.queryType({
  description:
    'Reads. `account` may be left out by a key that is for exactly one account. ' +
    'A field that fails is null and leaves the others as they are.',
});
builder.mutationType({
  description:
    'Writes. One operation is one unit of work: all its fields commit together or none does; any ' +
    'error in the answer rolls it back and `data` is null. With an `Idempotency-Key` header (or ' +
    '`extensions.idempotencyKey`) it may be sent again after a lost answer: it takes effect once.',
});
builder.subscriptionType({
  description:
    'Streams of committed changes in commit order. `cursor` of the last event, given as `after`, ' +
    'resumes; a RESET event says when that is no longer possible.',
});
