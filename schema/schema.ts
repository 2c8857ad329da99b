import type { GraphQLSchema } from 'graphql';
import { builder } from './builder.ts';
import './scalars.ts';
import './account.ts';
import './candle.ts';
import './change.ts';
import './mark.ts';
import './node.ts';
import './position.ts';
import './position-event.ts';
import './prediction.ts';
import './signal.ts';

/** The whole schema; each file imported above has added its part. */
export function createSchema(): GraphQLSchema {
  return builder.toSchema();
}
