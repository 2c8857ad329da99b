import {
  METRIC_NAMES,
  metricHistory,
  type MetricPoint as MetricPointRecord,
} from '../resolvers/metric.ts';
import { builder } from './builder.ts';
import { TimeRange } from './time-range.ts';

const MetricPoint = builder.objectRef<MetricPointRecord>('MetricPoint').implement({
  fields: (t) => ({
    at: t.expose('at', { type: 'DateTime', description: 'The beginning of its step.' }),
    value: t.exposeFloat('value', {
      nullable: true,
      description: 'The mean of the samples of the step; null: nothing was measured.',
    }),
  }),
});

builder.queryField('metricHistory', (t) =>
  t.field({
    description:
      'A metric of the process that answers, of the last 24 hours and since its start: one point ' +
      'for each step, oldest first. A sample is taken each ten seconds. A range without `from` ' +
      `is an hour, one without \`to\` ends now; at most 10,000 steps. Metrics: ${METRIC_NAMES.join(', ')}.`,
    type: [MetricPoint],
    nullable: true,
    args: {
      metric: t.arg.string({ required: true }),
      range: t.arg({ type: TimeRange, required: true }),
      stepSeconds: t.arg.int({ defaultValue: 10, description: '1 to 86400.' }),
    },
    resolve: (_root, { stepSeconds, ...args }, context) => [
      ...metricHistory(context, { ...args, stepSeconds: stepSeconds ?? 10 }),
    ],
  }),
);
