import { hash as digest } from 'node:crypto';
import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  type OperationDefinitionNode,
  validateExecutionArgs,
  visit,
} from 'graphql';
import type { Logger } from 'pino';
import { canonicalJson } from './datasources/canonical.ts';
import type { Context } from './context.ts';
import { toPublicResult } from './edge.ts';
import type { OperationContext } from './execution.ts';
import type { Outlet } from './outlet.ts';
import { executeValidated } from './row-executor.ts';
import type { Groups, SharedExecution, Sharing } from './subscriptions/sharing.ts';

/** What a subscription is made of that may share its execution with others. */
export interface SharedOperation {
  readonly args: ExecutionArgs;
  readonly context: Context & OperationContext;
  readonly groups: Groups;
  readonly outlet: Outlet;
  /** A context of nobody in particular with the permissions of this one. */
  openContext(): Context;
  readonly log: Logger;
}

/**
 * Subscriptions of the same document, variables (but `after` and `snapshot`, which say where one
 * begins) and permissions give the same text for each event: they share its making.
 */
export function sharingOf(operation: SharedOperation): Sharing {
  const { groups, outlet } = operation;
  let key: string | null = null;
  return {
    groups,
    get key() {
      key ??= keyOf(operation);
      return key;
    },
    sink: outlet.sink,
    onSlow: outlet.onSlow,
    begin: () => begin(operation),
  };
}

function keyOf({ args, context }: SharedOperation): string {
  const { actor, params, operation } = context;
  const variables = { ...(args.variableValues ?? {}) };
  for (const name of beginningsOf(args)) delete variables[name];
  const parts = [
    params?.query,
    args.operationName ?? null,
    variables,
    actor.role,
    actor.accounts,
    // Of the reads of an event.
    operation.deadlineMs,
  ];
  return digest('sha256', canonicalJson(parts), 'base64');
}

const BEGINNINGS = new Set(['after', 'snapshot']);
const known = new WeakMap<DocumentNode, readonly string[]>();

/** The variables that say where a subscription begins, and nothing else. */
function beginningsOf({ document, operationName }: ExecutionArgs): readonly string[] {
  // With several operations a variable may mean two things.
  const operations = document.definitions.filter(({ kind }) => kind === 'OperationDefinition');
  const [operation] = operations as readonly OperationDefinitionNode[];
  if (operation === undefined || operations.length > 1) return [];
  if (operationName && operation.name?.value !== operationName) return [];
  const found = known.get(document) ?? findBeginnings(document, operation);
  known.set(document, found);
  return found;
}

function findBeginnings(
  document: DocumentNode,
  { selectionSet }: OperationDefinitionNode,
): readonly string[] {
  const [field] = selectionSet.selections;
  if (field?.kind !== 'Field') return [];
  const uses = new Map<string, number>();
  visit(document, {
    VariableDefinition: () => false,
    Variable: ({ name }) => {
      uses.set(name.value, (uses.get(name.value) ?? 0) + 1);
    },
  });
  return (field.arguments ?? []).flatMap(({ name, value }) =>
    BEGINNINGS.has(name.value) && value.kind === 'Variable' && uses.get(value.name.value) === 1
      ? [value.name.value]
      : [],
  );
}

function begin({
  args,
  openContext,
  context: { requestId },
  log,
}: SharedOperation): SharedExecution {
  const context = openContext();
  const validated = validateExecutionArgs({ ...args, contextValue: context });
  // They were valid when the first of the group subscribed.
  if (!('schema' in validated)) throw validated[0] ?? new Error('what was valid is not any more');
  const toText = (result: ExecutionResult) =>
    JSON.stringify(toPublicResult(result, requestId, log));
  return {
    context,
    execute(event) {
      const result = executeValidated({ ...validated, rootValue: event });
      return result instanceof Promise ? result.then(toText) : toText(result);
    },
    delivered: (members) => context.services.traffic.delivered(members),
  };
}
