import {
  coerceInputLiteral,
  coerceInputValue,
  type DocumentNode,
  type execute,
  type ExecutionArgs,
  type ExecutionResult,
  getNamedType,
  getOperationAST,
  type GraphQLInputField,
  type GraphQLInputType,
  type GraphQLSchema,
  isInputObjectType,
  isInputType,
  isListType,
  isNonNullType,
  isRequiredInputField,
  type OperationDefinitionNode,
  typeFromAST,
  validateExecutionArgs,
  type VariableDefinitionNode,
} from 'graphql';
import { executeRows, executeValidated } from './row-executor.ts';

/**
 * graphql-js asks each type anew what it is, for every field of every item of a batch, and puts the
 * items into objects without a prototype, which V8 keeps as hash tables: making and reading them
 * took as long as all other work on a batch. Here each input type is made a function once.
 * Only what is valid is coerced here. At the first doubt graphql-js does all of it: what is
 * accepted, and every message, are its own.
 */
export function executeFast(args: ExecutionArgs): ReturnType<typeof execute> {
  const plan = planOf(args);
  const objects = plan === null ? null : coerceObjects(plan, args.variableValues ?? {});
  if (plan === null || objects === null) return executeRows(args);
  const validated = validateExecutionArgs({ ...args, document: plan.document });
  if (!('schema' in validated)) return { errors: validated } satisfies ExecutionResult;
  const { sources, coerced } = validated.variableValues;
  return executeValidated({
    ...validated,
    document: args.document,
    operation: plan.operation,
    variableValues: {
      sources: { ...sources, ...objects.sources },
      coerced: { ...coerced, ...objects.coerced },
    },
  });
}

/** How the variables of one operation are coerced. */
interface Plan {
  readonly operation: OperationDefinitionNode;
  /** The operation without those of its variables that hold input objects. */
  readonly document: DocumentNode;
  readonly objects: readonly {
    readonly name: string;
    readonly type: GraphQLInputType;
    readonly coerce: Coercer;
  }[];
}

/** What a valid value becomes; undefined, or an exception, for every other one. */
type Coercer = (value: unknown) => unknown;

// Documents are kept by yoga, as long as they are asked for again.
const plans = new WeakMap<DocumentNode, Map<string | null, Plan | null>>();

function planOf({ schema, document, operationName }: ExecutionArgs): Plan | null {
  const byOperation = plans.get(document) ?? new Map<string | null, Plan | null>();
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
): Plan | null {
  const definitions = operation.variableDefinitions ?? [];
  const objects = definitions.flatMap((definition) => {
    const type = typeFromAST(schema, definition.type);
    if (!isInputType(type) || !isInputObjectType(getNamedType(type))) return [];
    return [{ name: nameOf(definition), type, coerce: coercerOf(type) }];
  });
  if (objects.length === 0) return null;
  const names = new Set(objects.map(({ name }) => name));
  const rest = {
    ...operation,
    variableDefinitions: definitions.filter((definition) => !names.has(nameOf(definition))),
  };
  return {
    operation,
    objects,
    document: {
      ...document,
      definitions: document.definitions.map((each) => (each === operation ? rest : each)),
    },
  };
}

function nameOf(definition: VariableDefinitionNode): string {
  return definition.variable.name.value;
}

type Sources = Parameters<typeof executeValidated>[0]['variableValues']['sources'];
type Source = Sources[string];

/** Null: something is missing or not valid, and graphql-js has to say what. */
function coerceObjects({ objects }: Plan, given: Readonly<Record<string, unknown>>) {
  const sources: Record<string, Source> = {};
  const coerced: Record<string, unknown> = {};
  try {
    for (const { name, type, coerce } of objects) {
      const value = Object.hasOwn(given, name) ? given[name] : undefined;
      const result = value === undefined ? undefined : coerce(value);
      if (result === undefined) return null;
      coerced[name] = result;
      sources[name] = { signature: { name, type, default: undefined }, value };
    }
  } catch {
    // A scalar or `invalid` refused: graphql-js finds the same again, with its place.
    return null;
  }
  return { sources, coerced };
}

const coercers = new WeakMap<GraphQLInputType, Coercer>();

function coercerOf(type: GraphQLInputType): Coercer {
  const known = coercers.get(type);
  if (known !== undefined) return known;
  let made: Coercer | null = null;
  // A type may contain itself: what is made inside is looked up when it runs.
  coercers.set(type, (value) => made?.(value));
  made = createCoercer(type);
  coercers.set(type, made);
  return made;
}

function createCoercer(type: GraphQLInputType): Coercer {
  if (isNonNullType(type)) {
    const coerce = coercerOf(type.ofType);
    return (value) => (value === null ? invalid() : coerce(value));
  }
  if (isListType(type)) {
    const coerce = coercerOf(type.ofType);
    return (value) => {
      if (value === null) return null;
      if (!Array.isArray(value)) return coerceInputValue(value, type);
      return value.map((item) => valid(coerce(item)));
    };
  }
  if (isInputObjectType(type)) {
    return type.isOneOf
      ? (value) => coerceInputValue(value, type)
      : createObjectCoercer(Object.values(type.getFields()));
  }
  return (value) => (value === null ? null : type.coerceInputValue(value));
}

function createObjectCoercer(definitions: readonly GraphQLInputField[]): Coercer {
  const fields = definitions.map((field) => ({
    name: field.name,
    coerce: coercerOf(field.type),
    isRequired: isRequiredInputField(field),
    fallback: defaultOf(field),
  }));
  return (value) => {
    if (value === null) return null;
    if (typeof value !== 'object' || Array.isArray(value)) return invalid();
    const given = value as Readonly<Record<string, unknown>>;
    const coerced: Record<string, unknown> = {};
    let count = 0;
    for (const { name, coerce, isRequired, fallback } of fields) {
      const one = given[name];
      if (one !== undefined) {
        coerced[name] = valid(coerce(one));
        count += 1;
      } else if (isRequired) {
        invalid();
      } else if (fallback !== undefined) {
        coerced[name] = fallback;
      }
    }
    // Otherwise some name is unknown.
    return count === Object.keys(given).length ? coerced : invalid();
  };
}

function defaultOf(field: GraphQLInputField): unknown {
  if (field.default === undefined) return field.defaultValue;
  const { literal, value } = field.default;
  return literal === undefined
    ? coerceInputValue(value, field.type)
    : coerceInputLiteral(literal, field.type);
}

function valid(coerced: unknown): unknown {
  return coerced === undefined ? invalid() : coerced;
}

const INVALID = new Error('graphql-js says what is not valid');

function invalid(): never {
  throw INVALID;
}
