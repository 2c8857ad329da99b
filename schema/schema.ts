import { clearAllDataLoaders } from '@pothos/plugin-dataloader';
import type { GraphQLSchema } from 'graphql';
import { builder } from './builder.ts';
import './scalars.ts';
import './account.ts';
import './alert.ts';
import './alert-rule.ts';
import './api-key.ts';
import './balance.ts';
import './candle.ts';
import './change.ts';
import './change-event.ts';
import './exposure.ts';
import './frame.ts';
import './health.ts';
import './mark.ts';
import './metric.ts';
import './node.ts';
import './operation.ts';
import './order.ts';
import './order-event.ts';
import './outcome.ts';
import './pnl-series.ts';
import './position.ts';
import './position-event.ts';
import './prediction.ts';
import './prediction-accuracy.ts';
import './prediction-event.ts';
import './prediction-stats.ts';
import './setting.ts';
import './signal.ts';
import './statement.ts';
import './trade.ts';
import './trade-event.ts';
import './trading-performance.ts';

/** The whole schema; each file imported above has added its part. */
export function createSchema(): GraphQLSchema {
  const schema = builder.toSchema();
  // The fields of a mutation run one after the other over one context: a relation that was loaded
  // for one of them may have been changed by the next.
  for (const field of Object.values(schema.getMutationType()?.getFields() ?? {})) {
    const { resolve } = field;
    if (resolve === undefined) continue;
    field.resolve = (root, args, context, info) => {
      clearAllDataLoaders(context);
      return resolve(root, args, context, info);
    };
  }
  return schema;
}
