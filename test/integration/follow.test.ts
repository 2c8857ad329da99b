import type { Client, Sink } from 'graphql-ws';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Followed, follow, type FollowOptions } from '../../examples/follow.ts';
import { createCuttableClient } from '../support/cuttable.ts';
import { close, open, openOne, update } from '../support/documents.ts';
import { eventually } from '../support/eventually.ts';
import { openItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { makeAccount, orderItem, PLACE, CANCEL } from '../support/trading.ts';

let server: TestServer;
let account: string;
const undo: (() => unknown)[] = [];

beforeAll(async () => {
  server = await startTestServer();
});

beforeEach(async () => {
  account = await makeAccount(server);
});

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

afterAll(() => server.stop());

interface Position {
  readonly id: string;
  readonly symbol: string;
  readonly quantity: string;
  readonly stopLossPrice: string | null;
  readonly version: number;
}

const FIELDS = 'id symbol quantity stopLossPrice version';
const OPEN_ONES = '{ status: [OPEN] }';

/** The stock client, and what cuts the socket that it has. */
function connect(key = server.key) {
  const connected = createCuttableClient({
    url: `${server.url.replace('http', 'ws')}/graphql`,
    connectionParams: { authorization: `Bearer ${key}` },
  });
  undo.push(() => connected.client.dispose());
  return connected;
}

function followPositions(
  client: Pick<Client, 'subscribe'>,
  options: Partial<FollowOptions<Position>> = {},
): Followed<Position> {
  const followed = follow<Position>(client, {
    field: 'positionChanges',
    account,
    where: OPEN_ONES,
    fields: FIELDS,
    ...options,
  });
  undo.push(() => followed.stop());
  return followed;
}

async function stored(): Promise<readonly Position[]> {
  type Data = { readonly positions: { readonly nodes: readonly Position[] } };
  const query = `query ($account: ID!) {
    positions(account: $account, where: ${OPEN_ONES}, first: 500) { nodes { ${FIELDS} } } }`;
  return (await server.data<Data>(query, { account })).positions.nodes;
}

function rowsOf({ rows }: Followed<Position>): readonly Position[] {
  return [...rows.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
}

async function expectEqual(followed: Followed<Position>): Promise<void> {
  await eventually(async () => {
    const wanted = [...(await stored())].sort((one, other) => (one.id < other.id ? -1 : 1));
    expect(rowsOf(followed)).toEqual(wanted);
  });
}

const own = () => ({ account });

/** Opens, changes and closes positions; some units are refused as a whole. */
async function write(rounds: number, between: (round: number) => void): Promise<void> {
  const ids: string[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const { id } = await openOne(server, openItem(), own());
    ids.push(id);
    const [changed] = ids.splice(round % ids.length, 1);
    await update(server, [{ id: changed, stopLossPrice: `${1 + round}.5` }], own());
    if (round % 3 === 0) await close(server, [{ id: changed, price: '111' }], own());
    // The second item is no position: nothing of this is stored.
    await server.request(
      'mutation ($input: UpdatePositionsInput!) { updatePositions(input: $input) { counts { updated } } }',
      {
        input: {
          account,
          items: [
            { id, stopLossPrice: '9' },
            { id: account, quantity: '1' },
          ],
        },
      },
    );
    between(round);
  }
}

describe('follow', () => {
  it('is equal to the table while sockets are cut and units roll back', async () => {
    await open(server, [openItem(), openItem()], own());
    const { client, cut } = connect();
    const all = [followPositions(client), followPositions(connect().client)];
    await Promise.all(all.map(({ ready }) => ready));
    await Promise.all(
      [0, 1, 2, 3].map((writer) =>
        write(15, (round) => {
          if (round % 2 === writer % 2) cut();
        }),
      ),
    );
    for (const followed of all) {
      await expectEqual(followed);
      expect(followed.counts).toMatchObject({ gaps: 0, resets: 0 });
    }
  });

  it('keeps orders as well', async () => {
    const { client } = connect();
    const orders = follow<{ id: string; status: string }>(client, {
      field: 'orderChanges',
      account,
      where: '{ status: [PENDING, OPEN] }',
      fields: 'id status',
    });
    undo.push(() => orders.stop());
    await orders.ready;
    const input = { account, items: [orderItem(), orderItem()] };
    type Data = { placeOrders: { results: { order: { id: string } }[] } };
    const { placeOrders } = await server.data<Data>(PLACE, { input });
    const ids = placeOrders.results.map(({ order }) => order.id);
    await eventually(async () => expect([...orders.rows.keys()].sort()).toEqual(ids.toSorted()));
    await server.data(CANCEL, { input: { account, ids: ids.slice(1) } });
    await eventually(async () => expect([...orders.rows.keys()]).toEqual(ids.slice(0, 1)));
  });

  it('takes all rows anew when the history is another one', async () => {
    const { client } = connect();
    const followed = followPositions(client);
    await followed.ready;
    await write(3, () => {});
    await server.sql`update account_heads set epoch = 'restored' where account_id = ${account}`;
    // What a restored database has is not what was there before.
    await server.sql`
      update positions set quantity = quantity + 1 where account_id = ${account} and status = 'OPEN'`;
    await eventually(async () => expect(followed.counts.resets).toBe(1));
    await expectEqual(followed);
  });

  it('ends with its key', async () => {
    const { token, id } = await server.issueKey('VIEWER', [account]);
    const followed = followPositions(connect(token).client);
    await followed.ready;
    await server.data('mutation ($id: ID!) { revokeApiKey(id: $id) }', { id });
    await expect(followed.ended).rejects.toHaveProperty('code', 4401);
  });

  it('says why it cannot begin', async () => {
    const followed = followPositions(connect().client, { fields: 'id nothing' });
    await expect(followed.ready).rejects.toMatchObject([{ message: expect.any(String) }]);
  });
});

describe('follow checks', () => {
  interface Subscribed {
    readonly after: string | undefined;
    send(kind: string, seq: number, previousSeq: number | null, row?: object | null): void;
    fail(error: unknown): void;
  }

  /** A server that says what the test wants it to. */
  function scripted() {
    const subscriptions: Subscribed[] = [];
    const subscribe = (payload: { variables?: unknown }, sink: Sink<unknown>) => {
      const { after } = payload.variables as { after?: string };
      subscriptions.push({
        after,
        send: (kind, seq, previousSeq, row = null) => {
          const event = {
            kind,
            cursor: `e.${seq}`,
            seq: String(seq),
            previousSeq: previousSeq === null ? null : String(previousSeq),
            row,
          };
          (sink as Sink<{ data: object }>).next({ data: { event } });
        },
        fail: (error) => sink.error(error),
      });
      return () => {};
    };
    return { subscriptions, client: { subscribe } as unknown as Client };
  }

  const rowOf = (id: string, version = 1) => ({ id, version });

  it('for a gap, and reads everything anew then', async () => {
    const { client, subscriptions } = scripted();
    const followed = followPositions(client);
    const [first] = subscriptions;
    first?.send('SNAPSHOT', 5, null, rowOf('a'));
    first?.send('CAUGHT_UP', 5, null);
    first?.send('CHANGE', 7, 5, rowOf('b'));
    expect([...followed.rows.keys()]).toEqual(['a', 'b']);
    first?.send('CHANGE', 9, 8, rowOf('c'));
    expect(followed.counts.gaps).toBe(1);
    // Nothing that the first one may still say counts.
    first?.send('CHANGE', 10, 9, rowOf('d'));
    expect([...followed.rows.keys()]).toEqual(['a', 'b']);
    expect(subscriptions.map(({ after }) => after)).toEqual([undefined, undefined]);
    const [, second] = subscriptions;
    second?.send('SNAPSHOT', 10, null, rowOf('c'));
    expect([...followed.rows.keys()]).toEqual(['a', 'b']);
    second?.send('CAUGHT_UP', 10, null);
    expect([...followed.rows.keys()]).toEqual(['c']);
  });

  it('for a gap that only a heartbeat tells of', () => {
    const { client, subscriptions } = scripted();
    const followed = followPositions(client);
    subscriptions[0]?.send('CAUGHT_UP', 5, null);
    subscriptions[0]?.send('HEARTBEAT', 6, 5);
    expect(followed.counts.gaps).toBe(0);
    subscriptions[0]?.send('HEARTBEAT', 9, 8);
    expect(followed.counts.gaps).toBe(1);
  });

  it('for what it has already', () => {
    const { client, subscriptions } = scripted();
    const followed = followPositions(client);
    const [only] = subscriptions;
    only?.send('CAUGHT_UP', 5, null);
    only?.send('CHANGE', 6, 5, rowOf('a', 1));
    only?.send('CHANGE', 7, 6, rowOf('a', 2));
    only?.send('CHANGE', 6, 5, rowOf('a', 1));
    expect(followed.rows.get('a')).toMatchObject({ version: 2 });
    expect(followed.counts).toMatchObject({ duplicates: 1, gaps: 0 });
  });

  it('what may be tried again, and goes on from there', async () => {
    const { client, subscriptions } = scripted();
    const followed = followPositions(client);
    subscriptions[0]?.send('CAUGHT_UP', 5, null);
    subscriptions[0]?.fail([{ extensions: { code: 'SLOW_CONSUMER', retryable: false } }]);
    await eventually(async () => expect(subscriptions).toHaveLength(2));
    expect(subscriptions[1]?.after).toBe('e.5');
    expect(followed.counts.resumes).toBe(1);
    subscriptions[1]?.fail([{ extensions: { code: 'FORBIDDEN', retryable: false } }]);
    await expect(followed.ended).rejects.toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
  });
});
