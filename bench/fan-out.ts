import { makeBody } from './client.ts';
import { type Readers, withBroadcast, withReaders } from './reader-process.ts';
import { type Bench, median, type Result } from './table.ts';
import { type World, withWorld } from './world.ts';

/**
 * One account's changes to 500 sockets that subscribe to the same document, against a bare `ws`
 * server that sends as many ready-made messages of the same size to 500 sockets, in turns. The
 * readers of both are the same process. The clock runs from before the first mutation is sent, each
 * of which changes 250 positions in one unit, or before the first message, until every socket has
 * had every event. Then the same in 10 groups whose documents are not the same.
 */
const SUBSCRIBERS = 500;
export const ITEMS = 250;
const GROUPS = 10;
const ACCEPT = 0.6;

export async function fanOutLines(bench: Bench): Promise<readonly Result[]> {
  const mutations = bench.isQuick ? 2 : 8;
  const rounds = bench.isQuick ? 1 : 3;
  return await withWorld(bench, 'fan_out', async (world) => {
    const change = await createWriter(world, mutations);
    const events = mutations * ITEMS;
    const one: Rate[] = [];
    const groups: Rate[] = [];
    const bare: Rate[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const alike = queriesOf(1);
      one.push(await withReaders((readers) => measure(world, readers, alike, events, change)));
      const { meanBytes } = one.at(-1) ?? { meanBytes: 0 };
      bare.push(await withReaders((readers) => measureBare(readers, events, meanBytes)));
      const unlike = queriesOf(GROUPS);
      groups.push(await withReaders((readers) => measure(world, readers, unlike, events, change)));
    }
    return [
      resultOf(`${SUBSCRIBERS} subscribers, ${events} events, one document`, one, bare, ACCEPT),
      resultOf(`the same in ${GROUPS} groups of different documents`, groups, bare, 0),
    ];
  });
}

interface Rate {
  readonly perSecond: number;
  readonly meanBytes: number;
}

function resultOf(
  line: string,
  product: readonly Rate[],
  bare: readonly Rate[],
  value: number,
): Result {
  const [figure, limit] = [product, bare].map((rates) =>
    median(rates.map(({ perSecond }) => perSecond)),
  ) as [number, number];
  const show = (rate: number) => `${Math.round(rate).toLocaleString('en')} deliveries/s`;
  return {
    line,
    figure: show(figure),
    limit: show(limit),
    ratio: figure / limit,
    bound: { kind: 'at least', value },
  };
}

/** What the documents of the groups differ in is the name of the operation. */
function queriesOf(groups: number): readonly string[] {
  return Array.from(
    { length: SUBSCRIBERS },
    (_none, index) => `subscription Group${index % groups} {
      positionChanges(account: "main") { kind seq previousSeq cursor at position {
        id exchange symbol side quantity entryPrice stopLossPrice version updatedAt } } }`,
  );
}

async function measure(
  { url, key }: World,
  readers: Readers,
  queries: readonly string[],
  events: number,
  change: () => Promise<void>,
): Promise<Rate> {
  await readers.open(`${url.replace('http', 'ws')}/graphql`, queries, key);
  const { elapsedMs, meanBytes } = await readers.receive(events, change);
  await readers.close();
  return { perSecond: (SUBSCRIBERS * events * 1000) / elapsedMs, meanBytes };
}

async function measureBare(readers: Readers, messages: number, meanBytes: number): Promise<Rate> {
  return await withBroadcast(async (url, broadcast) => {
    await readers.open(
      url,
      Array.from({ length: SUBSCRIBERS }, () => null),
    );
    const bytes = Math.round(meanBytes);
    const { elapsedMs } = await readers.receive(messages, async () => {
      broadcast({ messages, bytes });
    });
    await readers.close();
    return { perSecond: (SUBSCRIBERS * messages * 1000) / elapsedMs, meanBytes };
  });
}

const OPEN = `mutation ($input: OpenPositionsInput!) {
  openPositions(input: $input) { results { position { id } } } }`;
const UPDATE = `mutation ($input: UpdatePositionsInput!) {
  updatePositions(input: $input) { counts { updated } } }`;

/** Changes 250 positions in one unit, as often as asked for. */
export async function createWriter(
  { client }: World,
  mutations: number,
): Promise<() => Promise<void>> {
  const items = Array.from({ length: ITEMS }, (_none, index) => ({
    exchange: 'bybit',
    symbol: `S${index}USDT`,
    side: 'LONG',
    quantity: '1',
    entryPrice: '60000',
  }));
  const opened = await client.query<{
    openPositions: { results: { position: { id: string } }[] };
  }>(OPEN, { input: { account: 'main', items } });
  const ids = opened.openPositions.results.map(({ position }) => position.id);
  let price = 0;
  return async () => {
    for (let mutation = 0; mutation < mutations; mutation += 1) {
      price += 1;
      const updates = ids.map((id) => ({ id, stopLossPrice: String(price) }));
      await client.post(makeBody(UPDATE, { input: { account: 'main', items: updates } }));
    }
  };
}
