import { dirname, join } from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import {
  type execute,
  type ExecutionArgs,
  type ExecutionResult,
  type executeRootSelectionSet,
  type GraphQLField,
  type GraphQLLeafType,
  type GraphQLObjectType,
  isLeafType,
  isNonNullType,
  TypeNameMetaFieldDef,
  validateExecutionArgs,
} from 'graphql';

type ValidatedArgs = Parameters<typeof executeRootSelectionSet>[0];

/** The fields of one selection set by the names they have in the answer. */
type GroupedFields = ReadonlyMap<string, FieldNodes>;
type FieldNodes = readonly { readonly node: { readonly name: { readonly value: string } } }[];

/** What is used of graphql-js's own executor, which its entry does not export. */
interface Executor {
  readonly validatedExecutionArgs: ValidatedArgs;
  executeRootSelectionSet(): Promise<ExecutionResult> | ExecutionResult;
  executeFields(
    type: GraphQLObjectType,
    source: unknown,
    path: unknown,
    fields: GroupedFields,
    position: unknown,
  ): unknown;
}

// The version of graphql is exact, and its entry imports this very module.
const EXECUTION = join(dirname(createRequire(import.meta.url).resolve('graphql')), 'execution');
const importOwn = (file: string) => import(pathToFileURL(join(EXECUTION, file)).href);
const BaseExecutor: new (args: ValidatedArgs, shared: object) => Executor = (
  await importOwn('ExecutorThrowingOnIncremental.mjs')
).ExecutorThrowingOnIncremental;
const createShared: (signal: AbortSignal) => object = (
  await importOwn('createSharedExecutionContext.mjs')
).createSharedExecutionContext;

/**
 * What `info.getAbortSignal()` gives. graphql-js makes a signal for each operation and aborts it at
 * the end of all, with an error whose stack keeps hold of everything the operation has made. Here
 * resolvers are told by their deadline and by the signal of their call.
 */
const NEVER = new AbortController().signal;

/**
 * graphql-js makes a path, a description of the field, its arguments and its nodes anew for each
 * value of each row, most of which need none of it: of a page of 50 rows that was half of all that a
 * request allocates. Here the plain values of a row are made by one loop; the other fields are left to
 * graphql-js, and so is the whole row at the first doubt: what is null, and every message, are its own.
 */
class RowExecutor extends BaseExecutor {
  constructor(args: ValidatedArgs) {
    super(args, createShared(NEVER));
  }

  override executeFields(
    type: GraphQLObjectType,
    source: unknown,
    path: unknown,
    fields: GroupedFields,
    position: unknown,
  ): unknown {
    const plan = planOf(this.validatedExecutionArgs, type, fields);
    const row = plan.leaves.length === 0 ? null : makeRow(plan.leaves, source);
    if (row === null) return super.executeFields(type, source, path, fields, position);
    if (plan.others.size === 0) return row;
    const others = super.executeFields(type, source, path, plan.others, position);
    const join = (made: unknown) => joinInOrder(fields, row, made as Row);
    return others instanceof Promise ? others.then(join) : join(others);
  }
}

/** As graphql-js's function of this name. */
export function executeValidated(args: ValidatedArgs): Promise<ExecutionResult> | ExecutionResult {
  return new RowExecutor(args).executeRootSelectionSet();
}

/** As graphql-js's `execute`, which all but the rows is left to. */
export function executeRows(args: ExecutionArgs): ReturnType<typeof execute> {
  const validated = validateExecutionArgs(args);
  if (!('schema' in validated)) return { errors: validated } satisfies ExecutionResult;
  return executeValidated(validated);
}

type Row = Readonly<Record<string, unknown>>;

/** A field whose value is one of the row. */
interface Leaf {
  readonly key: string;
  readonly type: GraphQLLeafType;
  readonly isNullable: boolean;
  readonly read: (source: never) => unknown;
}

interface Plan {
  readonly leaves: readonly Leaf[];
  /** What there is more to. */
  readonly others: GroupedFields;
}

// graphql-js gives the same fields for all rows of a list.
const plans = new WeakMap<GroupedFields, Plan>();

function planOf(args: ValidatedArgs, type: GraphQLObjectType, fields: GroupedFields): Plan {
  let plan = plans.get(fields);
  if (plan === undefined) {
    const leaves: Leaf[] = [];
    const others = new Map<string, FieldNodes>();
    for (const [key, nodes] of fields) {
      const leaf = leafOf(args, type, key, nodes[0]?.node.name.value ?? '');
      if (leaf === null) others.set(key, nodes);
      else leaves.push(leaf);
    }
    plan = { leaves, others };
    plans.set(fields, plan);
  }
  return plan;
}

/** Null: there is more to it than a value of the row. */
function leafOf(
  { schema }: ValidatedArgs,
  type: GraphQLObjectType,
  key: string,
  name: string,
): Leaf | null {
  const field = schema.getField(type, name);
  // An alias `__proto__` would not become a property, but what the row inherits from.
  if (field === undefined || field.args.length > 0 || key === '__proto__') return null;
  const isNullable = !isNonNullType(field.type);
  const named = isNonNullType(field.type) ? field.type.ofType : field.type;
  const read = field === TypeNameMetaFieldDef ? () => type.name : readerOf(name, field);
  return isLeafType(named) && read !== null ? { key, type: named, isNullable, read } : null;
}

function readerOf(
  name: string,
  { resolve, extensions }: GraphQLField<unknown, unknown>,
): ((source: never) => unknown) | null {
  const { pothosExposedField: exposed } = extensions;
  if (typeof exposed === 'string') return (source: Row) => source[exposed];
  // Those of rows are made of the row alone.
  return name === 'id' && resolve?.length === 1
    ? (resolve as unknown as (source: never) => unknown)
    : null;
}

/** Null: graphql-js has to make this one. */
function makeRow(leaves: readonly Leaf[], source: unknown): Row | null {
  const row: Record<string, unknown> = {};
  try {
    for (const { key, type, isNullable, read } of leaves) {
      // It is what the type of its field says.
      const value = read(source as never);
      if (value === null && isNullable) {
        row[key] = null;
        continue;
      }
      if (value === null || value === undefined || isOdd(value)) return null;
      const shown = type.coerceOutputValue(value);
      if (shown === null || shown === undefined) return null;
      row[key] = shown;
    }
  } catch {
    // graphql-js meets the same, and says where.
    return null;
  }
  return row;
}

function isOdd(value: unknown): boolean {
  if (typeof value === 'function') return true;
  return typeof value === 'object' && value !== null && (value instanceof Error || 'then' in value);
}

/** In the order of the document. */
function joinInOrder(fields: GroupedFields, row: Row, others: Row): Row {
  const joined: Record<string, unknown> = Object.create(null);
  for (const key of fields.keys()) {
    const part = Object.hasOwn(row, key) ? row : others;
    if (key in part) joined[key] = part[key];
  }
  return joined;
}
