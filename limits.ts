import {
  type ASTVisitor,
  defaultFieldResolver,
  type ExecutionArgs,
  getNamedType,
  getNullableType,
  type GraphQLArgument,
  GraphQLError,
  type GraphQLFieldResolver,
  type GraphQLSchema,
  isInputObjectType,
  isListType,
  isObjectType,
  type ValidationContext,
} from 'graphql';
import type { Budget, Context } from './context.ts';
import { costOf, fieldsPerItem } from './cost.ts';
import type { Call } from './datasources/lane.ts';
import { assertInTime } from './datasources/slot.ts';
import { AppError } from './errors.ts';

export const TOKENS_MAX = 50_000;
const DEPTH_MAX = 16;
const ROOT_FIELDS_MAX = 32;
const FIELDS_MAX = 1000;
/** Objects of one answer: as estimated before, and as list items while it is made. */
export const NODES_MAX = 50_000;
/** Fields of one answer, in the same two ways. */
export const VALUES_MAX = 1_000_000;
/** Entries of each list in a filter. */
export const FILTER_ENTRIES_MAX = 500;
/** Introspection is deeper than any question about trading. */
const INTROSPECTION_DEPTH_MAX = 24;

/**
 * Refuses documents whose cost is in their shape: depth, root fields and fields in all, with
 * fragments counted wherever they are spread and aliases counted like any field.
 */
export function limitRule(context: ValidationContext): ASTVisitor {
  return {
    OperationDefinition: (operation) => {
      const spreading = new Set<string>();
      let fields = 0;
      let rootFields = 0;
      let deepest = 0;

      function walk(selections: typeof operation.selectionSet.selections, depth: number): void {
        deepest = Math.max(deepest, depth);
        for (const selection of selections) {
          // The bound also ends the walk: fragments that spread each other grow exponentially.
          if (fields > FIELDS_MAX || deepest > INTROSPECTION_DEPTH_MAX) return;
          if (selection.kind === 'Field') {
            fields += 1;
            if (depth === 1) rootFields += 1;
            if (selection.selectionSet) walk(selection.selectionSet.selections, depth + 1);
          } else if (selection.kind === 'InlineFragment') {
            fields += 1;
            walk(selection.selectionSet.selections, depth);
          } else {
            const fragment = context.getFragment(selection.name.value);
            if (!fragment || spreading.has(selection.name.value)) continue;
            fields += 1;
            spreading.add(selection.name.value);
            walk(fragment.selectionSet.selections, depth);
            spreading.delete(selection.name.value);
          }
        }
      }

      const { selections } = operation.selectionSet;
      walk(selections, 1);
      const isIntrospection = selections.every(
        (selection) => selection.kind === 'Field' && selection.name.value.startsWith('__'),
      );
      const depthMax = isIntrospection ? INTROSPECTION_DEPTH_MAX : DEPTH_MAX;
      if (deepest > depthMax) report(`The document is deeper than ${depthMax} levels.`);
      if (fields > FIELDS_MAX) report(`The document has more than ${FIELDS_MAX} fields.`);
      if (rootFields > ROOT_FIELDS_MAX) {
        report(`The document has more than ${ROOT_FIELDS_MAX} root fields.`);
      }

      function report(message: string): void {
        const extensions = { code: 'QUERY_TOO_EXPENSIVE' };
        context.reportError(new GraphQLError(message, { nodes: operation, extensions }));
      }
    },
  };
}

/**
 * Refuses an operation that is valid and would make too much; the units of cost of any other: its
 * nodes and the items of its batches.
 *
 * @throws AppError QUERY_TOO_EXPENSIVE with the estimate and the bound
 */
export function assertAffordable(args: ExecutionArgs): number {
  const cost = costOf(args);
  if (cost === null) return 0;
  if (cost.nodes > NODES_MAX) throw tooExpensive('nodes', cost.nodes, NODES_MAX);
  if (cost.values > VALUES_MAX) throw tooExpensive('values', cost.values, VALUES_MAX);
  return Math.ceil(cost.nodes + cost.items);
}

function tooExpensive(what: 'nodes' | 'values', estimate: number, max: number): AppError {
  const rounded = Math.min(Math.round(estimate), Number.MAX_SAFE_INTEGER);
  return new AppError(
    'QUERY_TOO_EXPENSIVE',
    `The operation is estimated to make ${rounded} ${what}; at most ${max} are allowed: ask for ` +
      'smaller pages or less below them.',
    { details: { [what]: rounded, [`${what}Max`]: max } },
  );
}

/** `call` says how long: an event of a subscription may take as long anew. */
export function createBudget(call: Pick<Call, 'deadlineAt' | 'signal'>): Budget {
  const { signal } = call;
  const timeMs = call.deadlineAt - performance.now();
  let { deadlineAt } = call;
  let items = 0;
  let values = 0;
  let rows = 0;
  let reading: Promise<unknown> = Promise.resolve();

  return {
    begin() {
      deadlineAt = performance.now() + timeMs;
      items = 0;
      values = 0;
      rows = 0;
    },
    take(moreItems, moreValues) {
      items += moreItems;
      values += moreValues;
      if (items > NODES_MAX) throw tooMuch('list items', NODES_MAX);
      if (values > VALUES_MAX) throw tooMuch('values in lists', VALUES_MAX);
    },
    async takeRows(read) {
      const before = reading;
      // Two lists that are read at once could each have all that is left.
      const mine = before.then(() => read(NODES_MAX - rows + 1));
      reading = mine.catch(() => undefined);
      const found = await mine;
      rows += found.length;
      if (rows > NODES_MAX) throw tooMuch('rows of relations', NODES_MAX);
      return found;
    },
    assertInTime() {
      assertInTime({ deadlineAt, ...(signal === undefined ? {} : { signal }) });
    },
  };
}

function tooMuch(what: string, max: number): AppError {
  return new AppError(
    'QUERY_TOO_EXPENSIVE',
    `The answer has more than ${max} ${what}: ask for smaller pages or less below them.`,
    { details: { nodesMax: NODES_MAX, valuesMax: VALUES_MAX } },
  );
}

/**
 * Counts what the lists of this schema really have: an estimate does not know how long a relation
 * is. Relations are refused when the time of the operation is over, too: what was loaded before
 * takes no statement, which would notice.
 */
export function boundLists(schema: GraphQLSchema): void {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || type.name.startsWith('__')) continue;
    const isRow = type.getInterfaces().length > 0;
    for (const field of Object.values(type.getFields())) {
      if (isListType(getNullableType(field.type))) {
        field.resolve = bounded(field.resolve ?? defaultFieldResolver, isRow);
      }
    }
  }
  const events = schema.getSubscriptionType()?.getFields() ?? {};
  for (const field of Object.values(events)) {
    const { resolve = defaultFieldResolver } = field;
    field.resolve = (source, args, context: Context, info) => {
      context.budget.begin();
      return resolve(source, args, context, info);
    };
  }
}

type Resolver = GraphQLFieldResolver<unknown, Context>;

function bounded(resolve: Resolver, isRelation: boolean): Resolver {
  return (source, args, context, info) => {
    const count = (list: unknown): unknown => {
      if (!Array.isArray(list)) return list;
      context.budget.take(list.length, list.length * fieldsPerItem(info.fieldNodes));
      return list;
    };
    if (isRelation) context.budget.assertInTime();
    const list = resolve(source, args, context, info);
    return list instanceof Promise ? list.then(count) : count(list);
  };
}

/**
 * Checks the lists of every filter of this schema, before its resolver is asked: a filter is an input
 * whose type is called `…Where`, as an argument or in one.
 */
export function boundFilters(schema: GraphQLSchema): void {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || type.name.startsWith('__')) continue;
    for (const field of Object.values(type.getFields())) {
      const paths = field.args.flatMap(filtersIn);
      if (paths.length === 0) continue;
      const { resolve, subscribe } = field;
      if (subscribe) field.subscribe = withFilters(subscribe, paths);
      else if (resolve) field.resolve = withFilters(resolve, paths);
    }
  }
}

function filtersIn({ name, type }: GraphQLArgument): readonly (readonly string[])[] {
  const named = getNamedType(type);
  if (!isInputObjectType(named)) return [];
  if (named.name.endsWith('Where')) return [[name]];
  return Object.values(named.getFields()).flatMap((field) =>
    getNamedType(field.type).name.endsWith('Where') ? [[name, field.name]] : [],
  );
}

function withFilters(resolve: Resolver, paths: readonly (readonly string[])[]): Resolver {
  return (source, args, context, info) => {
    for (const path of paths) assertFilter(args, path);
    return resolve(source, args, context, info);
  };
}

/** @throws AppError BAD_INPUT over 500 entries */
export function assertFilter(
  args: Readonly<Record<string, unknown>>,
  path: readonly string[],
): void {
  let filter: unknown = args;
  for (const name of path) filter = isRecord(filter) ? filter[name] : null;
  if (!isRecord(filter)) return;
  for (const [name, value] of Object.entries(filter)) {
    if (!Array.isArray(value) || value.length <= FILTER_ENTRIES_MAX) continue;
    throw new AppError(
      'BAD_INPUT',
      `${name} has ${value.length} entries; a filter may have at most ${FILTER_ENTRIES_MAX}.`,
      { path: [...path, name], details: { entriesMax: FILTER_ENTRIES_MAX } },
    );
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
