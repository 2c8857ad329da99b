import { afterEach, describe, expect, it } from 'vitest';
import { open, update } from '../../support/documents.ts';
import { openEventStream, type TestEventStream } from '../../support/event-stream.ts';
import { type LiveEvent, type LiveStream, ORDERS, useLive } from '../../support/live.ts';
import { many, openItem } from '../../support/make.ts';
import { fillItem, placeOne, recordOne } from '../../support/trading.ts';

/** Subscribers of the same document, variables and permissions are told together. */

const live = useLive();
const events: TestEventStream[] = [];

afterEach(() => {
  for (const stream of events.splice(0)) stream.close();
});

const POSITIONS = `subscription ($account: ID, $after: String, $snapshot: Boolean) {
  positionChanges(account: $account, after: $after, snapshot: $snapshot) {
    kind cursor seq previousSeq position { id stopLossPrice trades { id } } } }`;

const countOf = (name: string) => live.server.statements().filter((one) => one === name).length;

async function openPositions(count: number): Promise<readonly string[]> {
  const { results } = await open(
    live.server,
    many(count, () => openItem()),
    { account: live.account },
  );
  return results.map(({ position }) => position?.id ?? '');
}

async function stop(id: string | undefined, price: number): Promise<void> {
  await update(live.server, [{ id, stopLossPrice: price.toFixed(3) }], { account: live.account });
}

async function begin(query: string, key?: string, variables: object = {}): Promise<LiveStream> {
  const stream = await live.open(query, variables, key);
  for (let event = await stream.next(); event.kind !== 'CAUGHT_UP'; ) event = await stream.next();
  return stream;
}

describe('those who ask for the same', () => {
  it('read the relations of an event once, and each reads them anew', async () => {
    const streams = await Promise.all(Array.from({ length: 5 }, () => begin(ORDERS)));
    const { clientOrderId } = await placeOne(
      live.server,
      { quantity: '3' },
      { account: live.account },
    );
    for (const stream of streams) await stream.next();
    live.server.statements();
    for (const filled of [1, 2, 3]) {
      await recordOne(live.server, fillItem(clientOrderId), { account: live.account });
      const told = await Promise.all(streams.map((stream) => stream.next()));
      expect(told[0]).toMatchObject({
        order: {
          trades: Array.from({ length: filled }, () => ({ quantity: '1' })),
          position: { quantity: String(filled) },
        },
      });
      expect(new Set(told.map((event) => JSON.stringify(event))).size).toBe(1);
    }
    expect(countOf('positions.findByIds')).toBe(3);
  });

  it('are told the same over sockets and SSE, with the cursor as the id', async () => {
    const [id] = await openPositions(1);
    const stream = await begin(POSITIONS);
    const variables = { account: live.account };
    const sse = await openEventStream(live.server, POSITIONS, live.server.key, { variables });
    events.push(sse);
    await sse.read('CAUGHT_UP');
    await stop(id, 1);
    await stop(id, 2);
    const [, second] = await stream.take(2);
    const text = await sse.read(`id: ${second?.cursor}`);
    const told = JSON.stringify({ data: { positionChanges: second } });
    expect(text).toContain(`event: next\ndata: ${told}\nid: ${second?.cursor}\n\n`);
  });

  it('are counted each, and whoever reads for them is not', async () => {
    const [id] = await openPositions(1);
    const streams = await Promise.all([1, 2, 3].map(() => begin(POSITIONS)));
    await stop(id, 1);
    for (const stream of streams) await stream.next();
    const { health } = await live.server.data<{ health: { feed: { subscriptions: number } } }>(
      '{ health { feed { subscriptions } } }',
    );
    expect(health.feed.subscriptions).toBe(3);
  });

  it('with other permissions are told by themselves', async () => {
    const own = [live.account];
    const keys = [
      await live.server.issueKey('VIEWER', own),
      await live.server.issueKey('VIEWER', own),
      await live.server.issueKey('VIEWER', [live.account, 'main']),
      await live.server.issueKey('BOT', own),
    ];
    const streams = await Promise.all(keys.map(({ token }) => begin(ORDERS, token)));
    live.server.statements();
    await placeOne(live.server, {}, { account: live.account });
    await Promise.all(streams.map((stream) => stream.next()));
    expect(countOf('trades.listByOrders')).toBe(3);
  });

  it('go on when the one who came first goes, or its key ends', async () => {
    const { token, id: keyId } = await live.server.issueKey('VIEWER', [live.account]);
    const other = await live.server.issueKey('VIEWER', [live.account]);
    const [first, revoked, left] = [
      await begin(POSITIONS, other.token),
      await begin(POSITIONS, token),
      await begin(POSITIONS, other.token),
    ];
    first.close();
    await live.server.sql`update api_keys set revoked_at = now() where id = ${keyId}`;
    expect((await revoked.socket.closed).code).toBe(4403);
    const [id] = await openPositions(1);
    expect(await left.next()).toMatchObject({ kind: 'CHANGE', position: { id } });
  });
});

describe('who comes late', () => {
  it('gets its own snapshot and then joins between two changes, 50 times under writes', async () => {
    const ids = await openPositions(10);
    const founder = await begin(POSITIONS);
    let isWriting = true;
    let price = 0;
    const writers = ids.slice(0, 3).map(async (id) => {
      while (isWriting) {
        price += 0.001;
        await stop(id, price);
      }
    });
    const streams: LiveStream[] = [];
    const told: LiveEvent[][] = [];
    for (let turn = 0; turn < 50; turn += 1) {
      const stream = await live.open(POSITIONS, { snapshot: true });
      streams.push(stream);
      told.push([...(await stream.take(11))]);
    }
    isWriting = false;
    await Promise.all(writers);
    const [last] = await live.server.sql<{ seq: string }[]>`
      select max(seq) as seq from changes where account_id = ${live.account}`;
    const all = await readUntil(founder, last?.seq);
    for (const [index, stream] of streams.entries()) {
      const mine = [...(told[index] ?? []), ...(await readUntil(stream, last?.seq, told[index]))];
      expect(mine.slice(0, 11).map(({ kind }) => kind)).toEqual([
        ...ids.map(() => 'SNAPSHOT'),
        'CAUGHT_UP',
      ]);
      const from = Number(mine[10]?.seq);
      const seqs = mine.slice(11).map(({ seq }) => seq);
      const expected = all.map(({ seq }) => seq).filter((seq) => Number(seq) > from);
      expect(seqs).toEqual(expected);
      expectChained(mine.slice(10));
    }
  });

  it('resumes from its cursor and joins, with one execution for all from then on', async () => {
    const [id] = await openPositions(1);
    const first = await begin(ORDERS);
    await stop(id, 1);
    const late = await begin(ORDERS, undefined, { after: `${await epoch()}.1` });
    live.server.statements();
    await placeOne(live.server, {}, { account: live.account });
    expect(await late.next()).toEqual(await first.next());
    expect(countOf('trades.listByOrders')).toBe(1);
  });
});

async function epoch(): Promise<string> {
  const [head] = await live.server.sql<{ epoch: string }[]>`
    select epoch from account_heads where account_id = ${live.account}`;
  return head?.epoch ?? '';
}

/** What comes up to this seq, after what came already. */
async function readUntil(
  stream: LiveStream,
  seq: string | undefined,
  before: readonly LiveEvent[] = [],
): Promise<readonly LiveEvent[]> {
  const read: LiveEvent[] = [];
  while ((read.at(-1) ?? before.at(-1))?.seq !== seq) read.push(await stream.next());
  return read;
}

function expectChained(chain: readonly LiveEvent[]): void {
  for (const [index, event] of chain.entries()) {
    const before = chain[index - 1];
    if (before === undefined) continue;
    expect(Number(event.previousSeq)).toBeLessThanOrEqual(Number(before.seq));
    expect(Number(event.seq)).toBeGreaterThan(Number(before.seq));
  }
}
