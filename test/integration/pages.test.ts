import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { open, predict } from '../support/documents.ts';
import { many, openItem, predictionItem } from '../support/make.ts';
import { SEED } from '../support/seed.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createSignals, signalItem } from '../support/signal.ts';
import { fillItem, makeAccount, orderItem, place, placeOne, record } from '../support/trading.ts';

let server: TestServer;
let account: string;

interface Page {
  readonly edges: readonly { readonly cursor: string; readonly node: { readonly id: string } }[];
  readonly nodes: readonly { readonly id: string }[];
  readonly pageInfo: {
    readonly hasNextPage: boolean;
    readonly hasPreviousPage: boolean;
    readonly startCursor: string | null;
    readonly endCursor: string | null;
  };
}

/** Each kind that has pages, with the type of its filter. */
const KINDS = [
  ['orders', 'OrderWhere'],
  ['trades', 'TradeWhere'],
  ['positions', 'PositionWhere'],
  ['predictions', 'PredictionWhere'],
  ['signals', 'SignalWhere'],
] as const;
type Kind = (typeof KINDS)[number][0];

const ROWS = 24;
const SYMBOL = 'PAGEUSDT';

beforeAll(async () => {
  server = await startTestServer();
  account = await makeAccount(server, { hedgeMode: true });
  const of = { account };
  // Four rows to an instant; every second one has the symbol that is asked for.
  const symbolOf = (index: number) => (index % 2 === 0 ? SYMBOL : `OTHER${index}`);
  const instantOf = (index: number) =>
    `2026-02-01T00:00:00.00${Math.floor(index / 4)}${index % 2 === 0 ? '0' : '7'}00Z`;
  await place(
    server,
    many(ROWS, (index) => orderItem({ symbol: symbolOf(index), positionSide: 'LONG' })),
    of,
  );
  await open(
    server,
    many(ROWS, (index) =>
      openItem({
        symbol: symbolOf(index),
        exchange: `e${index}`,
        openedAt: instantOf(index),
      }),
    ),
    of,
  );
  await predict(
    server,
    many(ROWS, (index) =>
      predictionItem({
        symbol: symbolOf(index),
        modelVersion: `m${index}`,
        predictedAt: instantOf(index),
        features: [index],
        indicators: { index },
      }),
    ),
    of,
  );
  await createSignals(
    server,
    many(ROWS, (index) =>
      signalItem({ symbol: symbolOf(index), exchange: `e${index}`, dedupeSeconds: 0 }),
    ),
    of,
  );
});

afterAll(() => server.stop());

function documentOf(kind: Kind, where: string): string {
  return `query (
    $account: ID, $where: ${where}, $sort: SortDirection,
    $first: Int, $after: String, $last: Int, $before: String
  ) {
    ${kind}(
      account: $account, where: $where, sort: $sort,
      first: $first, after: $after, last: $last, before: $before
    ) {
      edges { cursor node { id } } nodes { id }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }`;
}

async function read(kind: Kind, where: string, variables: object): Promise<Page> {
  const data = await server.data<Readonly<Record<Kind, Page>>>(documentOf(kind, where), {
    account,
    ...variables,
  });
  return data[kind];
}

/** What the Relay specification says of these rows, which are in the order that is asked for. */
function pageOf(
  ids: readonly string[],
  { first, after, last, before }: Readonly<Record<string, number | string | undefined>>,
) {
  const start = after === undefined ? 0 : ids.indexOf(String(after)) + 1;
  const end = before === undefined ? ids.length : ids.indexOf(String(before));
  const between = ids.slice(start, Math.max(start, end));
  if (last !== undefined) {
    const cut = between.slice(-Number(last));
    return { ids: cut, isMore: cut.length < between.length };
  }
  const cut = between.slice(0, Number(first ?? 50));
  return { ids: cut, isMore: cut.length < between.length };
}

const placeOf = fc.option(fc.nat({ max: ROWS / 2 - 1 }), { nil: undefined });
const questions = fc.record({
  sort: fc.constantFrom('ASC', 'DESC', undefined),
  size: fc.integer({ min: 1, max: ROWS + 2 }),
  isBackward: fc.boolean(),
  after: placeOf,
  before: placeOf,
});

describe.each(KINDS)(`pages of %s, seed ${SEED}`, (kind, where) => {
  const filter = { symbols: [SYMBOL] };

  it('hold every row once, newest first unless told otherwise, and ids are their cursors', async () => {
    const newest = await read(kind, where, {});
    expect(newest.nodes.length).toBeGreaterThanOrEqual(ROWS);
    const ids = newest.nodes.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(ids.toSorted().toReversed());
    expect(newest.edges.map(({ cursor }) => cursor)).toEqual(ids);
    expect(newest.edges.map(({ node }) => node.id)).toEqual(ids);
    const oldest = await read(kind, where, { sort: 'ASC' });
    expect(oldest.nodes.map(({ id }) => id)).toEqual(ids.toReversed());
  });

  it('are those of a list that is cut in memory, whatever is asked', async () => {
    const all = (await read(kind, where, { where: filter, sort: 'ASC' })).nodes;
    const ascending = all.map(({ id }) => id);
    expect(ascending).toHaveLength(ROWS / 2);
    const property = fc.asyncProperty(questions, async ({ sort, size, isBackward, ...ends }) => {
      const ids = sort === 'ASC' ? ascending : ascending.toReversed();
      const question = {
        ...(isBackward ? { last: size } : { first: size }),
        ...(ends.after === undefined ? {} : { after: ids[ends.after] ?? '' }),
        ...(ends.before === undefined ? {} : { before: ids[ends.before] ?? '' }),
      };
      const { nodes, pageInfo } = await read(kind, where, { where: filter, sort, ...question });
      const expected = pageOf(ids, question);
      expect(nodes.map(({ id }) => id)).toEqual(expected.ids);
      expect(pageInfo.startCursor).toBe(expected.ids[0] ?? null);
      expect(pageInfo.endCursor).toBe(expected.ids.at(-1) ?? null);
      expect(isBackward ? pageInfo.hasPreviousPage : pageInfo.hasNextPage).toBe(expected.isMore);
    });
    await fc.assert(property, { seed: SEED, numRuns: 40 });
  });

  it('take a cursor of another filter, and none of another page', async () => {
    const [row] = (await read(kind, where, { first: 1 })).nodes;
    await read(kind, where, { where: filter, sort: 'ASC', after: row?.id });
    const [other] = KINDS.filter(([one]) => one !== kind);
    const foreign = (await read(other?.[0] ?? kind, other?.[1] ?? where, { first: 1 })).nodes[0];
    const stranger = row?.id.replace(account, 'main');
    const [, , uuid] = row?.id.split('.') ?? [];
    for (const cursor of [foreign?.id, stranger, uuid, '0abcdef0.1', '', `${row?.id}0`]) {
      for (const name of ['after', 'before']) {
        const document = documentOf(kind, where);
        const { data, errors } = await server.request(document, { account, [name]: cursor });
        expect(data, cursor).toEqual({ [kind]: null });
        expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', path: [name] });
      }
    }
  });

  it('have 1 to 500 rows, of one end', async () => {
    for (const question of [{ first: 1 }, { first: 500 }, { last: 1 }, { last: 500 }]) {
      await read(kind, where, question);
    }
    for (const question of [
      { first: 0 },
      { first: 501 },
      { last: 0 },
      { last: 501 },
      { first: 1, last: 1 },
    ]) {
      const { errors } = await server.request(documentOf(kind, where), { account, ...question });
      expect(errors[0]?.extensions.code).toBe('BAD_INPUT');
    }
  });

  it('count in a statement of its own, and only when asked', async () => {
    server.statements();
    await read(kind, where, { where: filter });
    expect(server.statements()).toEqual([`${kind}.list`]);
    const data = await server.data<Record<Kind, { totalCount: number }>>(
      `query ($account: ID, $where: ${where}) {
        ${kind}(account: $account, where: $where, first: 1) { totalCount nodes { id } }
      }`,
      { account, where: filter },
    );
    expect(data[kind].totalCount).toBe(ROWS / 2);
    expect(server.statements()).toEqual([`${kind}.list`, `${kind}.count`]);
  });

  it('find a range of time to the microsecond', async () => {
    if (kind === 'orders' || kind === 'signals') return;
    const name = { trades: 'executedAt', positions: 'openedAt', predictions: 'predictedAt' }[kind];
    const count = async (range: object) =>
      (await read(kind, where, { where: { [name]: range } })).nodes.length;
    const at = '2026-02-01T00:00:00.003000Z';
    const all = await count({});
    expect(await count({ from: at })).toBe(12);
    expect(await count({ from: at.replace('000Z', '001Z') })).toBe(10);
    expect(await count({ to: at })).toBe(all - 12);
    expect(await count({ to: at.replace('000Z', '001Z') })).toBe(all - 10);
    expect(await count({ from: at, to: at })).toBe(0);
  });
});

describe('a page of predictions', () => {
  it('reads features, indicators and metadata in one statement more, if at all', async () => {
    const ask = (fields: string) =>
      server.data<{ predictions: { nodes: readonly object[] } }>(
        `query ($account: ID) {
          predictions(account: $account, first: 3, sort: ASC) { nodes { ${fields} } }
        }`,
        { account },
      );
    server.statements();
    await ask('symbol signal horizons { horizonMinutes }');
    expect(server.statements()).toEqual(['predictions.list', 'predictions.listHorizons']);
    const { predictions } = await ask('features indicators metadata');
    expect(predictions.nodes).toHaveLength(3);
    expect(predictions.nodes[0]).toMatchObject({
      features: [expect.any(Number)],
      indicators: { index: expect.any(Number) },
      metadata: null,
    });
    expect(server.statements()).toEqual(['predictions.list', 'predictions.listDetails']);
  });
});

describe('relations of a page', () => {
  it('are a statement each, whatever its size', async () => {
    const of = { account: await makeAccount(server) };
    const orders = many(6, () => orderItem({ quantity: '3' }));
    const placed = await place(server, orders, of);
    const fills = placed.results.flatMap(({ order }) =>
      many(3, () => fillItem(order?.clientOrderId ?? '')),
    );
    await record(server, fills, of);
    const ask = (first: number) =>
      server.data(
        `query ($account: ID, $first: Int) {
          orders(account: $account, first: $first) {
            nodes { account { id } position { id markPrice } trades { id position { id } } }
          }
        }`,
        { ...of, first },
      );
    const statements: (readonly string[])[] = [];
    for (const first of [1, 6]) {
      server.statements();
      await ask(first);
      statements.push(server.statements().toSorted());
    }
    expect(statements[0]).toEqual([
      'accounts.findByIds',
      'marks.find',
      'orders.list',
      'positions.findByIds',
      'trades.listByOrders',
    ]);
    expect(statements[1]).toEqual(statements[0]);
  });
});

it('of an account that was not asked for is not there', async () => {
  const { clientOrderId } = await placeOne(server);
  const page = await read('orders', 'OrderWhere', { where: { clientOrderIds: [clientOrderId] } });
  expect(page.nodes).toEqual([]);
});
