import type { AlertRule as AlertRuleRecord } from '../datasources/alert-rule.ts';
import { alertRules, putAlertRule } from '../resolvers/alert-rule.ts';
import { AlertSeverity } from './alert.ts';
import { builder } from './builder.ts';

const AlertRule = builder.objectRef<AlertRuleRecord>('AlertRule').implement({
  description:
    'When a metric is not as it should be. Each process holds its own metrics against it.',
  fields: (t) => ({
    name: t.exposeString('name'),
    metric: t.exposeString('metric', { description: 'As in `metricHistory`.' }),
    comparison: t.exposeString('comparison', { description: '> >= < or <=' }),
    threshold: t.exposeFloat('threshold', { description: 'In the unit of the metric.' }),
    severity: t.expose('severity', { type: AlertSeverity }),
    forSeconds: t.exposeInt('forSeconds', {
      description: 'It fires once the comparison has held so long without a break.',
    }),
    enabled: t.exposeBoolean('enabled'),
    runbook: t.exposeString('runbook', { description: 'Where it stands what to do.' }),
  }),
});

const PutAlertRuleInput = builder.inputType('PutAlertRuleInput', {
  description:
    'What is left out stays as it is. A new rule needs metric, comparison and threshold.',
  fields: (t) => ({
    name: t.string({
      required: true,
      description: '1 to 64 of a-z, 0-9 and -, beginning with a letter.',
    }),
    metric: t.string(),
    comparison: t.string({ description: '> >= < or <=' }),
    threshold: t.float(),
    severity: t.field({ type: AlertSeverity, description: 'Of a new rule: WARNING.' }),
    forSeconds: t.int({ description: '0 to 86400. Of a new rule: 0.' }),
    enabled: t.boolean({ description: 'Of a new rule: true.' }),
  }),
});

builder.queryField('alertRules', (t) =>
  t.field({
    description: 'All rules, by name.',
    type: [AlertRule],
    nullable: true,
    resolve: async (_root, _args, context) => [...(await alertRules(context))],
  }),
);

builder.mutationField('putAlertRule', (t) =>
  t.field({
    description:
      'Makes a rule or changes one. All processes follow within about ten seconds; an alert that ' +
      'fires by a rule that is disabled is resolved.',
    type: AlertRule,
    args: { input: t.arg({ type: PutAlertRuleInput, required: true }) },
    resolve: (_root, { input }, context) => putAlertRule(context, input),
  }),
);
