import { type NodeRecord, nodes } from '../resolvers/node.ts';
import { builder } from './builder.ts';

/** What has a global id; its type is told by the kind in that id. */
export const Node = builder.interfaceRef<{ readonly id: string }>('Node').implement({
  description: 'What has a global id: `<kind>.<account>.<uuid>`; an account is its own slug.',
  fields: (t) => ({ id: t.exposeID('id', { description: 'Readable and stable.' }) }),
  resolveType: (node) => TYPE_NAMES.get(node) ?? null,
});

// Records are plain rows that two types may share the shape of: what a node is, is kept beside it.
const TYPE_NAMES = new WeakMap<object, string>();

const NAMES = {
  account: 'Account',
  alert: 'Alert',
  order: 'Order',
  position: 'Position',
  prediction: 'Prediction',
  signal: 'Signal',
  trade: 'Trade',
} as const;

function asNode(found: NodeRecord | null): { readonly id: string } | null {
  if (found === null) return null;
  TYPE_NAMES.set(found.record, NAMES[found.kind]);
  return found.record;
}

builder.queryFields((t) => ({
  node: t.field({
    description: 'The thing with this id, or null.',
    type: Node,
    nullable: true,
    args: { id: t.arg.id({ required: true }) },
    resolve: async (_root, { id }, context) =>
      asNode((await nodes(context, [id], 'id'))[0] ?? null),
  }),
  nodes: t.field({
    description:
      'The things with these ids, in their order; null where there is none. At most 500.',
    type: [Node],
    nullable: { list: true, items: true },
    args: { ids: t.arg.idList({ required: true }) },
    resolve: async (_root, { ids }, context) => (await nodes(context, ids)).map(asNode),
  }),
}));
