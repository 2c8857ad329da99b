import type { Alert as AlertRecord } from '../datasources/alert.ts';
import { encodeId } from '../datasources/id.ts';
import { acknowledgeAlert, ALERTS_ACCOUNT, alerts } from '../resolvers/alert.ts';
import { alertChanges } from '../subscriptions/alert.ts';
import { builder } from './builder.ts';
import { Node } from './node.ts';

export const AlertSeverity = builder.enumType('AlertSeverity', {
  values: {
    INFO: { description: 'Worth knowing.' },
    WARNING: { description: 'To be looked at within the day.' },
    CRITICAL: { description: 'Bots or people are not served: now.' },
  } as const,
});

const AlertState = builder.enumType('AlertState', {
  values: {
    FIRING: { description: 'It lasts.' },
    RESOLVED: { description: 'It is over, or its process has gone.' },
  } as const,
});

const Alert = builder.objectRef<AlertRecord>('Alert');

Alert.implement({
  description: 'A rule that held on one process: one alert from its beginning to its end.',
  interfaces: [Node],
  fields: (t) => ({
    id: t.id({ resolve: ({ id }) => encodeId('alert', ALERTS_ACCOUNT, id) }),
    rule: t.exposeString('rule', { description: 'The name of the rule.' }),
    severity: t.expose('severity', { type: AlertSeverity }),
    state: t.expose('state', { type: AlertState }),
    value: t.exposeFloat('value', { description: 'Of the metric when it fired, in its unit.' }),
    threshold: t.exposeFloat('threshold', { description: 'Of the rule when it fired.' }),
    message: t.exposeString('message', { description: 'What is wrong, where, in one sentence.' }),
    firedAt: t.expose('firedAt', { type: 'DateTime' }),
    resolvedAt: t.expose('resolvedAt', { type: 'DateTime', nullable: true }),
    acknowledgedBy: t.exposeString('acknowledgedBy', {
      nullable: true,
      description: 'The actor who acknowledged it first, as in `viewer.actor`.',
    }),
  }),
});

builder.queryField('alerts', (t) =>
  t.field({
    description: 'The newest alerts of all processes that match, newest first. Never cached.',
    type: [Alert],
    nullable: true,
    args: {
      state: t.arg({ type: [AlertState] }),
      severity: t.arg({ type: [AlertSeverity] }),
      first: t.arg.int({ defaultValue: 50, description: '1 to 500.' }),
    },
    resolve: async (_root, { first, ...filter }, context) => [
      ...(await alerts(context, { ...filter, first: first ?? 50 })),
    ],
  }),
);

builder.mutationField('acknowledgeAlert', (t) =>
  t.field({
    description: 'Says that somebody has seen an alert. Who came first stays.',
    type: Alert,
    args: { id: t.arg.id({ required: true }) },
    resolve: (_root, { id }, context) => acknowledgeAlert(context, id),
  }),
);

builder.subscriptionField('alertChanges', (t) =>
  t.field({
    description:
      'The alerts that fire now, oldest first, then each that fires, is acknowledged or resolved. ' +
      'One that changes while the stream begins may come twice.',
    type: Alert,
    args: { minSeverity: t.arg({ type: AlertSeverity, defaultValue: 'INFO' }) },
    subscribe: (_root, args, context) => alertChanges(context, args),
    resolve: (alert) => alert,
  }),
);
