import type { Page, PageInfo as PageInfoRecord } from '../resolvers/page.ts';
import { builder } from './builder.ts';
import { SortDirection } from './enums.ts';

export const PageInfo = builder.objectRef<PageInfoRecord>('PageInfo').implement({
  fields: (t) => ({
    hasNextPage: t.exposeBoolean('hasNextPage'),
    hasPreviousPage: t.exposeBoolean('hasPreviousPage'),
    startCursor: t.exposeString('startCursor', { nullable: true }),
    endCursor: t.exposeString('endCursor', { nullable: true }),
  }),
});

// The builder of arguments has no exported name of its own.
type ArgumentBuilder = Parameters<NonNullable<Parameters<typeof builder.queryField>[1]>>[0]['arg'];

/** The arguments of every page. */
export function pageArguments(t: ArgumentBuilder) {
  return {
    sort: t({ type: SortDirection, defaultValue: 'DESC', description: 'By time.' }),
    first: t.int({ description: 'Rows after `after`: 1 to 500, default 50.' }),
    after: t.string({ description: 'A cursor of this page: the id of a row.' }),
    last: t.int({ description: 'Rows before `before`, instead of `first`.' }),
    before: t.string({ description: 'A cursor of this page.' }),
  };
}

/** Declares `<name>Connection` and `<name>Edge`; `node` is the object type of a row. */
export function pageType<Row>(name: string, node: ReturnType<typeof builder.objectRef<Row>>) {
  const Edge = builder
    .objectRef<{ readonly cursor: string; readonly node: Row }>(`${name}Edge`)
    .implement({
      fields: (t) => ({
        cursor: t.exposeString('cursor'),
        node: t.field({ type: node, resolve: (edge) => edge.node as never }),
      }),
    });
  return builder.objectRef<Page<Row>>(`${name}Connection`).implement({
    fields: (t) => ({
      edges: t.field({ type: [Edge], resolve: (page) => page.edges() }),
      nodes: t.field({ type: [node], resolve: (page) => page.nodes as never }),
      pageInfo: t.field({ type: PageInfo, resolve: (page) => page.pageInfo }),
      totalCount: t.int({
        description: 'A statement of its own: ask for it only when it is shown.',
        resolve: (page) => page.totalCount(),
      }),
    }),
  });
}
