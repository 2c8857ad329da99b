import type {
  DocumentNode,
  ExecutionArgs,
  ExecutionResult,
  FieldNode,
  FragmentDefinitionNode,
  OperationDefinitionNode,
  SelectionSetNode,
} from 'graphql';
import type { Answer } from './datasources/unit-of-work.ts';

const RESPONSE_STORED_BYTES_MAX = 256 * 1024;
/** Fields whose values are kept of an answer that is too long, by their names in the schema. */
const KEPT: ReadonlySet<string> = new Set(['index', 'status', 'id', 'counts', '__typename']);

/**
 * The data of an answer as a repeat of its request gets it. Of one above 256 KiB only statuses,
 * counts and ids are kept, under the names that the document gives them.
 */
export function toStored(
  args: Pick<ExecutionArgs, 'document' | 'operationName'>,
  result: ExecutionResult,
): Answer {
  const text = JSON.stringify(result.data);
  if (Buffer.byteLength(text) <= RESPONSE_STORED_BYTES_MAX) return { text, isShortened: false };
  const fragments = fragmentsOf(args.document);
  const root = operationOf(args).selectionSet;
  const data = mapFields(result.data, [root], fragments, (value, fields) =>
    shorten(value, selectionsOf(fields), fragments),
  );
  return { text: JSON.stringify(data), isShortened: true };
}

type Fragments = ReadonlyMap<string, FragmentDefinitionNode>;

/** Of a payload and its items: what is kept, and of each row its id. */
function shorten(
  value: unknown,
  selections: readonly SelectionSetNode[],
  fragments: Fragments,
): unknown {
  if (Array.isArray(value)) return value.map((item) => shorten(item, selections, fragments));
  return mapFields(value, selections, fragments, (member, fields) => {
    const name = fields[0]?.name.value ?? '';
    if (name === 'results') return shorten(member, selectionsOf(fields), fragments);
    if (KEPT.has(name)) return member;
    return idOf(member, selectionsOf(fields), fragments);
  });
}

/** The row with its id alone; undefined for what has none. */
function idOf(
  value: unknown,
  selections: readonly SelectionSetNode[],
  fragments: Fragments,
): unknown {
  if (!isObject(value) || Array.isArray(value)) return undefined;
  const row = mapFields(value, selections, fragments, (member, fields) =>
    fields[0]?.name.value === 'id' ? member : undefined,
  );
  return isObject(row) && Object.keys(row).length > 0 ? row : undefined;
}

/** The members of an object with the fields of the document that they answer; undefined: left out. */
function mapFields(
  value: unknown,
  selections: readonly SelectionSetNode[],
  fragments: Fragments,
  map: (member: unknown, fields: readonly FieldNode[]) => unknown,
): unknown {
  if (!isObject(value)) return value;
  const fields = new Map<string, FieldNode[]>();
  for (const selection of selections) collectFields(selection, fragments, fields);
  const members = Object.entries(value).map(([key, member]): [string, unknown] => [
    key,
    map(member, fields.get(key) ?? []),
  ]);
  return Object.fromEntries(members.filter(([, member]) => member !== undefined));
}

/** By the name in the answer. What is conditional is in the answer, or is not asked for here. */
function collectFields(
  { selections }: SelectionSetNode,
  fragments: Fragments,
  fields: Map<string, FieldNode[]>,
): void {
  for (const selection of selections) {
    if (selection.kind === 'Field') {
      const key = selection.alias?.value ?? selection.name.value;
      fields.set(key, [...(fields.get(key) ?? []), selection]);
    } else if (selection.kind === 'InlineFragment') {
      collectFields(selection.selectionSet, fragments, fields);
    } else {
      const fragment = fragments.get(selection.name.value);
      if (fragment !== undefined) collectFields(fragment.selectionSet, fragments, fields);
    }
  }
}

function selectionsOf(fields: readonly FieldNode[]): readonly SelectionSetNode[] {
  return fields.flatMap(({ selectionSet }) => selectionSet ?? []);
}

function fragmentsOf({ definitions }: DocumentNode): Fragments {
  return new Map(
    definitions.flatMap((definition) =>
      definition.kind === 'FragmentDefinition' ? [[definition.name.value, definition]] : [],
    ),
  );
}

/** @throws Error for a document without it: it was executed */
function operationOf({
  document,
  operationName,
}: Pick<ExecutionArgs, 'document' | 'operationName'>): OperationDefinitionNode {
  for (const definition of document.definitions) {
    if (definition.kind !== 'OperationDefinition') continue;
    if (!operationName || definition.name?.value === operationName) return definition;
  }
  throw new Error('an executed operation that is not in its document');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
