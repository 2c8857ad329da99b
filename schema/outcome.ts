import {
  evaluateOutcomes,
  type OutcomesPayload as Payload,
  recordOutcomes,
} from '../resolvers/outcome.ts';
import type { ItemResult } from '../resolvers/batch.ts';
import { BatchCounts, batchFields, ItemError } from './batch.ts';
import { builder } from './builder.ts';
import { Direction, ItemStatus } from './enums.ts';

const OutcomeResult = builder.objectRef<ItemResult>('OutcomeResult').implement({
  description: 'What became of one item.',
  fields: (t) => ({
    index: t.exposeInt('index', { description: 'The place of the item in the input, from 0.' }),
    status: t.expose('status', { type: ItemStatus }),
    error: t.expose('error', { type: ItemError, nullable: true }),
  }),
});

const OutcomesPayload = builder.objectRef<Payload>('OutcomesPayload').implement({
  fields: (t) => ({
    resolved: t.exposeInt('resolved', {
      description: 'Horizons that got their outcome by this.',
    }),
    pending: t.int({
      description:
        'Horizons of the account that are over (at `upTo`, where that was given) and have no ' +
        'outcome: their candles are missing, or nobody has looked at them yet. A statement of its ' +
        'own, run when asked for; 100,000 stands for more, too.',
      resolve: (payload) => payload.pending(),
    }),
    hasMore: t.boolean({
      description:
        'Whether horizons are over that evaluateOutcomes has not looked at: call it again. ' +
        'Those whose candles are missing are not among them.',
      resolve: (payload) => payload.hasMore(),
    }),
    results: t.field({
      type: [OutcomeResult],
      description: 'One an item, in input order; none of evaluateOutcomes.',
      resolve: ({ results }) => [...results],
    }),
    counts: t.expose('counts', {
      type: BatchCounts,
      description: 'Of evaluateOutcomes: `created` is what was resolved.',
    }),
  }),
});

const RecordOutcomeItem = builder.inputType('RecordOutcomeItem', {
  description: 'What the market did by the end of one horizon.',
  fields: (t) => ({
    predictionId: t.id({ required: true }),
    horizonMinutes: t.int({ required: true, description: 'One that the prediction has.' }),
    actualReturn: t.float({
      required: true,
      description: 'A share: 0.01 is one percent. -1 or above.',
    }),
    actualDirection: t.field({
      type: Direction,
      description: 'Left out: by the thresholds of evaluateOutcomes.',
    }),
    resolvedAt: t.field({ type: 'DateTime', description: 'Left out: now.' }),
  }),
});

const RecordOutcomesInput = builder.inputType('RecordOutcomesInput', {
  fields: (t) => ({
    ...batchFields(t),
    items: t.field({ type: [RecordOutcomeItem], required: true, description: '1 to 1000.' }),
  }),
});

const EvaluateOutcomesInput = builder.inputType('EvaluateOutcomesInput', {
  fields: (t) => ({
    account: t.id({ description: 'May be left out by a key that is for one account.' }),
    upTo: t.field({
      type: 'DateTime',
      description: 'Candles that close later are not looked at. Left out, or ahead of it: now.',
    }),
    limit: t.int({
      defaultValue: 10_000,
      description: 'How many horizons are looked at, 1 to 10000.',
    }),
  }),
});

builder.mutationFields((t) => ({
  recordOutcomes: t.field({
    description:
      'Stores outcomes that a client knows; evaluateOutcomes leaves them as they are. Item ' +
      'statuses, the first that holds: REJECTED (`NO_SUCH_HORIZON`: the prediction has no such ' +
      'horizon), NOT_FOUND, CONFLICT (the horizon has another outcome), REPLAYED (the same item ' +
      'again), UNCHANGED (it was evaluated with the same result), CREATED.',
    type: OutcomesPayload,
    args: { input: t.arg({ type: RecordOutcomesInput, required: true }) },
    resolve: (_root, { input }, context) => recordOutcomes(context, input),
  }),
  evaluateOutcomes: t.field({
    description:
      'Gives horizons that are over their outcomes from candles of the prediction’s exchange, ' +
      'symbol and interval, the oldest first. The close at an instant t is that of the candle ' +
      'that ends at t (its openTime is t minus the interval), so a prediction made when its last ' +
      'candle closed has the openTime of the next one as predictedAt. actualReturn = close at ' +
      '(predictedAt + horizon) / close at predictedAt - 1. actualDirection is LONG above the ' +
      'threshold, SHORT below its negative, else NEUTRAL; correct: it is the predicted one; ' +
      'returnError = predictedReturn - actualReturn. Thresholds: 0.0015 from 15 minutes, 0.003 ' +
      'from 60, 0.007 from 240, 0.01 from 720 (a shorter horizon has the first); the setting ' +
      '`outcomes.thresholds` of the account, `{"15": 0.0015, "60": 0.003}`, replaces them. ' +
      'A candle counts once it has closed by now and by `upTo`: nothing later is looked at. ' +
      'Where one is missing, the horizon stays pending and is looked at again when that candle ' +
      'has been committed. An outcome is never changed: a repeat resolves nothing.',
    type: OutcomesPayload,
    args: { input: t.arg({ type: EvaluateOutcomesInput, required: true }) },
    resolve: (_root, { input }, context) => evaluateOutcomes(context, input),
  }),
}));
