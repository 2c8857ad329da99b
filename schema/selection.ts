import {
  getDirectiveValues,
  GraphQLIncludeDirective,
  type GraphQLResolveInfo,
  GraphQLSkipDirective,
  type SelectionNode,
} from 'graphql';

/**
 * The names of the fields that are asked for right below the field that is being resolved, through
 * fragments, and under how many aliases each; what a directive leaves out is not among them.
 */
export function selectedFields(info: GraphQLResolveInfo): ReadonlyMap<string, number> {
  const namesByKey = new Map<string, string>();
  const seen = new Set<string>();

  function visit(selections: readonly SelectionNode[]): void {
    for (const selection of selections) {
      if (!isIncluded(selection, info)) continue;
      if (selection.kind === 'Field') {
        namesByKey.set((selection.alias ?? selection.name).value, selection.name.value);
      } else if (selection.kind === 'InlineFragment') {
        visit(selection.selectionSet.selections);
      } else if (!seen.has(selection.name.value)) {
        seen.add(selection.name.value);
        visit(info.fragments[selection.name.value]?.selectionSet.selections ?? []);
      }
    }
  }

  for (const node of info.fieldNodes) visit(node.selectionSet?.selections ?? []);
  const times = new Map<string, number>();
  for (const name of namesByKey.values()) times.set(name, (times.get(name) ?? 0) + 1);
  return times;
}

function isIncluded(selection: SelectionNode, { variableValues }: GraphQLResolveInfo): boolean {
  const skip = getDirectiveValues(GraphQLSkipDirective, selection, variableValues);
  const include = getDirectiveValues(GraphQLIncludeDirective, selection, variableValues);
  return skip?.if !== true && include?.if !== false;
}
