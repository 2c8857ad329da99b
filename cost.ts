import {
  type DirectiveNode,
  type DocumentNode,
  type ExecutionArgs,
  type FieldNode,
  type FragmentDefinitionNode,
  getNamedType,
  getNullableType,
  getOperationAST,
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  GraphQLID,
  GraphQLInt,
  GraphQLString,
  isCompositeType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isListType,
  isObjectType,
  type OperationDefinitionNode,
  type SelectionSetNode,
  type ValueNode,
} from 'graphql';
import { PAGE_SIZE_DEFAULT } from './resolvers/page.ts';

/** What an operation is expected to make, told by its document and its variables alone. */
export interface Cost {
  /** Objects of its answer; of a subscription, of the answer to each event. */
  readonly nodes: number;
  /** The fields of these objects. */
  readonly values: number;
  /** Items that its mutations are given. */
  readonly items: number;
}

/** Rows of a list that nothing tells the length of. What it has is bounded while it is made. */
export const LIST_LENGTH = 20;
/** No page and no batch is longer: whoever asks for more is refused by its resolver. */
const LENGTH_MAX = 5000;
/** Arguments that say how many rows there may be. */
const LENGTH_ARGUMENTS: ReadonlySet<string> = new Set(['first', 'last', 'limit']);

/**
 * Estimates an operation that is valid: along each path the lengths of pages, of lists of ids and
 * of batches are multiplied, and summed over aliases and fragments; what `@skip` or `@include` leave
 * out is not counted. Null where the document has no such operation.
 */
export function costOf(
  args: Pick<ExecutionArgs, 'schema' | 'document' | 'operationName' | 'variableValues'>,
): Cost | null {
  const plan = planOf(args);
  if (plan === null) return null;
  const scope = { variables: args.variableValues ?? {}, defaults: plan.defaults };
  const total = { nodes: 0, values: plan.root.leaves, items: 0 };
  for (const step of plan.root.children) {
    if (plan.isMutation && !isLeftOut(step, scope)) total.items += step.length?.(scope) ?? 0;
    add(step, scope, { parents: 1, length: null }, total);
  }
  return total;
}

/** Whether a valid operation asks for `__schema` or `__type`, however folded. */
export function asksForSchema(
  args: Pick<ExecutionArgs, 'schema' | 'document' | 'operationName'>,
): boolean {
  return planOf(args)?.root.children.some(({ isMeta }) => isMeta) ?? false;
}

/** The fields that each item of a list has by these nodes, up to the lists in it. */
export function fieldsPerItem(nodes: readonly FieldNode[]): number {
  let fields = 0;
  for (const node of nodes) fields += perItem.get(node) ?? 0;
  return Math.max(1, fields);
}

/** A field that has objects. */
interface Step {
  readonly isList: boolean;
  /** `__schema` or `__type`. */
  readonly isMeta: boolean;
  /** How many rows it has or, of a page or an answer to a batch, the lists in it; null: untold. */
  readonly length: ((scope: Scope) => number | null) | null;
  /** What `@skip` and `@include` say of it and of the fragments it stands in. */
  readonly conditions: readonly DirectiveNode[];
  /** Fields without objects. */
  readonly leaves: number;
  readonly children: readonly Step[];
}

interface Plan {
  readonly isMutation: boolean;
  readonly root: Pick<Step, 'leaves' | 'children'>;
  readonly defaults: ReadonlyMap<string, ValueNode>;
}

interface Scope {
  readonly variables: Readonly<Record<string, unknown>>;
  readonly defaults: ReadonlyMap<string, ValueNode>;
}

/** `of` are the objects that the step stands in, and what they say of the lists in them. */
function add(
  step: Step,
  scope: Scope,
  of: { readonly parents: number; readonly length: number | null },
  total: { nodes: number; values: number },
): void {
  if (isLeftOut(step, scope)) return;
  const length = step.length?.(scope) ?? null;
  const count = step.isList ? of.parents * (length ?? of.length ?? LIST_LENGTH) : of.parents;
  total.nodes += count;
  total.values += count * (1 + step.leaves);
  const next = { parents: count, length: step.isList ? null : length };
  for (const child of step.children) add(child, scope, next, total);
}

function isLeftOut({ conditions }: Step, scope: Scope): boolean {
  return conditions.some(({ name, arguments: given }) => {
    const [condition] = given ?? [];
    if (condition === undefined) return false;
    return readValue(condition.value, scope) === (name.value === 'skip');
  });
}

// Documents are kept by yoga, as long as they are asked for again.
const plans = new WeakMap<DocumentNode, Map<string | null, Plan>>();
const perItem = new WeakMap<FieldNode, number>();

function planOf({
  schema,
  document,
  operationName,
}: Pick<ExecutionArgs, 'schema' | 'document' | 'operationName'>): Plan | null {
  const byOperation = plans.get(document) ?? new Map<string | null, Plan>();
  plans.set(document, byOperation);
  const name = operationName ?? null;
  const known = byOperation.get(name);
  if (known !== undefined) return known;
  const operation = getOperationAST(document, name);
  // A name that no operation has is not kept: there is no end of them.
  if (!operation) return null;
  const plan = createPlan(schema, document, operation);
  byOperation.set(name, plan);
  return plan;
}

function createPlan(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
): Plan {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === 'FragmentDefinition') fragments.set(definition.name.value, definition);
  }
  const defaults = new Map<string, ValueNode>();
  for (const { variable, defaultValue } of operation.variableDefinitions ?? []) {
    if (defaultValue !== undefined) defaults.set(variable.name.value, defaultValue);
  }
  const isMutation = operation.operation === 'mutation';
  const root = schema.getRootType(operation.operation);
  const source = { schema, fragments, batches: isMutation ? root : null };
  return { isMutation, root: stepsOf(operation.selectionSet, root, source), defaults };
}

interface Source {
  readonly schema: GraphQLSchema;
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  /** The type whose fields are given batches. */
  readonly batches: GraphQLNamedType | null | undefined;
}

function stepsOf(
  selectionSet: SelectionSetNode,
  type: GraphQLNamedType | null | undefined,
  source: Source,
): Pick<Step, 'leaves' | 'children'> {
  const children: Step[] = [];
  let leaves = 0;

  function collect(
    { selections }: SelectionSetNode,
    parent: GraphQLNamedType | null | undefined,
    outer: readonly DirectiveNode[],
  ): void {
    if (!isCompositeType(parent)) return;
    for (const selection of selections) {
      const conditions = [...outer, ...conditionsOf(selection.directives)];
      if (selection.kind === 'Field') {
        const field = source.schema.getField(parent, selection.name.value);
        if (!field) continue;
        if (selection.selectionSet === undefined) leaves += 1;
        else children.push(stepOf(selection, field, parent, { ...source, conditions }));
      } else if (selection.kind === 'InlineFragment') {
        const named = selection.typeCondition?.name.value;
        const inner = named === undefined ? parent : source.schema.getType(named);
        collect(selection.selectionSet, inner, conditions);
      } else {
        const fragment = source.fragments.get(selection.name.value);
        if (fragment === undefined) continue;
        const inner = source.schema.getType(fragment.typeCondition.name.value);
        collect(fragment.selectionSet, inner, conditions);
      }
    }
  }

  collect(selectionSet, type, []);
  return { leaves, children };
}

function conditionsOf(directives: readonly DirectiveNode[] | undefined): readonly DirectiveNode[] {
  return (directives ?? []).filter(({ name }) => name.value === 'skip' || name.value === 'include');
}

function stepOf(
  node: FieldNode,
  field: GraphQLField<unknown, unknown>,
  parent: GraphQLNamedType,
  { conditions, ...source }: Source & { readonly conditions: readonly DirectiveNode[] },
): Step {
  const type = getNamedType(field.type);
  const { leaves, children } = node.selectionSet
    ? stepsOf(node.selectionSet, type, source)
    : { leaves: 0, children: [] };
  let fields = leaves;
  for (const child of children) fields += child.isList ? 1 : 1 + fieldsOf(child);
  perItem.set(node, fields);
  return {
    isList: isListType(getNullableType(field.type)),
    isMeta: node.name.value.startsWith('__'),
    length: parent.name.startsWith('__')
      ? introspectionLength(source.schema, node.name.value)
      : lengthOf(node, field, parent === source.batches),
    conditions,
    leaves,
    children,
  };
}

function fieldsOf({ leaves, children }: Step): number {
  let fields = leaves;
  for (const child of children) fields += child.isList ? 1 : 1 + fieldsOf(child);
  return fields;
}

/** What the arguments of a field say of a length. */
function lengthOf(
  node: FieldNode,
  field: GraphQLField<unknown, unknown>,
  isBatch: boolean,
): Step['length'] {
  const given = new Map(node.arguments?.map(({ name, value }) => [name.value, value]));
  const pages = field.args.filter(isLength);
  if (pages.length > 0) {
    return (scope) => {
      const asked = pages.flatMap(({ name }) => numberOf(given.get(name), scope) ?? []);
      const length = asked.length > 0 ? Math.max(...asked) : defaultOf(pages);
      return Math.min(Math.max(length, 0), LENGTH_MAX);
    };
  }
  const lists = field.args.filter(
    (argument) => isNames(argument) || (isBatch && isInput(argument)),
  );
  if (lists.length === 0) return null;
  return (scope) => {
    const lengths = lists.flatMap(({ name }) => longestIn(given.get(name), scope) ?? []);
    return lengths.length > 0 ? Math.min(Math.max(...lengths), LENGTH_MAX) : null;
  };
}

function isLength({ name, type }: GraphQLArgument): boolean {
  return LENGTH_ARGUMENTS.has(name) && getNullableType(type) === GraphQLInt;
}

/** Ids and the like, each of which is answered; not what the rows are sorted or grouped by. */
function isNames({ type }: GraphQLArgument): boolean {
  if (!isListType(getNullableType(type))) return false;
  const item: unknown = getNamedType(type);
  return item === GraphQLID || item === GraphQLString;
}

function isInput({ type }: GraphQLArgument): boolean {
  return isInputObjectType(getNamedType(type));
}

function defaultOf(pages: readonly GraphQLArgument[]): number {
  for (const { default: given, defaultValue } of pages) {
    const value = given?.value ?? defaultValue;
    if (typeof value === 'number') return value;
  }
  return PAGE_SIZE_DEFAULT;
}

function readValue(node: ValueNode, scope: Scope): unknown {
  if (node.kind !== 'Variable') return 'value' in node ? node.value : null;
  const name = node.name.value;
  if (Object.hasOwn(scope.variables, name)) return scope.variables[name];
  const fallback = scope.defaults.get(name);
  return fallback === undefined ? undefined : readValue(fallback, scope);
}

function numberOf(node: ValueNode | undefined, scope: Scope): number | null {
  if (node === undefined) return null;
  const value = readValue(node, scope);
  if (value === null || value === undefined) return null;
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
}

/** The length of a list, or of the longest that stands in an object. */
function longestIn(node: ValueNode | undefined, scope: Scope, isInner = false): number | null {
  switch (node?.kind) {
    case 'ListValue':
      return node.values.length;
    case 'ObjectValue':
      return isInner ? null : longest(node.fields, ({ value }) => longestIn(value, scope, true));
    case 'Variable': {
      const name = node.name.value;
      if (!Object.hasOwn(scope.variables, name)) {
        return longestIn(scope.defaults.get(name), scope, isInner);
      }
      const value = scope.variables[name];
      if (Array.isArray(value)) return value.length;
      if (isInner || typeof value !== 'object' || value === null) return null;
      return longest(Object.values(value), (one) => (Array.isArray(one) ? one.length : null));
    }
    default:
      return null;
  }
}

function longest<T>(values: readonly T[], length: (value: T) => number | null): number | null {
  const lengths = values.flatMap((value) => length(value) ?? []);
  return lengths.length > 0 ? Math.max(...lengths) : null;
}

const averages = new WeakMap<GraphQLSchema, Readonly<Record<string, number>>>();

/** Of `__schema` and `__type` everything is known: the lists in them are as long as on average. */
function introspectionLength(schema: GraphQLSchema, name: string): () => number {
  const known = averages.get(schema) ?? averagesOf(schema);
  averages.set(schema, known);
  return () => known[name] ?? 1;
}

function averagesOf(schema: GraphQLSchema): Readonly<Record<string, number>> {
  const types = Object.values(schema.getTypeMap());
  const objects = types.filter((type) => isObjectType(type) || isInterfaceType(type));
  const fields = objects.flatMap((type) => Object.values(type.getFields()));
  const sum = (lengths: readonly number[]) => lengths.reduce((total, one) => total + one, 0);
  return {
    types: types.length,
    directives: schema.getDirectives().length,
    fields: fields.length / types.length,
    args: sum(fields.map(({ args }) => args.length)) / fields.length,
    interfaces: sum(objects.map((type) => type.getInterfaces().length)) / types.length,
    inputFields:
      sum(
        types.map((type) => (isInputObjectType(type) ? Object.keys(type.getFields()).length : 0)),
      ) / types.length,
    enumValues:
      sum(types.map((type) => (isEnumType(type) ? type.getValues().length : 0))) / types.length,
  };
}
