import { createClient } from 'graphql-ws';
import type postgres from 'postgres';
import { WebSocket } from 'ws';
import { makeBody } from './client.ts';
import { type Bench, quantile, type Result } from './table.ts';
import { type World, withWorld } from './world.ts';

/**
 * From the commit to the subscriber. A unit takes `at` from the clock of the database in its last
 * statement, just before COMMIT; the event is timed when it arrives at a graphql-ws client.
 * The limit is a bare LISTEN/NOTIFY round trip on the same server: `clock_timestamp()` travels in
 * the notification of a transaction that inserts one row, and is compared when it arrives.
 * Both clocks are this machine's, in microseconds; both sides write one at a time, in turns.
 */
const P50_MAX = 3;
/** Not demanded; what is far above the median says that something waits. */
const P99_MAX = 10;
const WARM_UP = 20;

export async function streamLines(bench: Bench): Promise<readonly Result[]> {
  const count = bench.isQuick ? 100 : 1000;
  const { stream, notify } = await withWorld(bench, 'stream', (world) => timeBoth(world, count));
  return [
    resultOf('commit to subscriber, p50', quantile(stream, 0.5), quantile(notify, 0.5), P50_MAX),
    resultOf('commit to subscriber, p99', quantile(stream, 0.99), quantile(notify, 0.99), P99_MAX),
  ];
}

function resultOf(line: string, figureMs: number, limitMs: number, value: number): Result {
  return {
    line,
    figure: `${figureMs.toFixed(2)} ms`,
    limit: `${limitMs.toFixed(2)} ms`,
    ratio: figureMs / limitMs,
    bound: { kind: 'at most', value },
  };
}

/** Unix milliseconds with the microseconds of this process's clock. */
function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

const OPEN = `mutation ($input: OpenPositionsInput!) {
  openPositions(input: $input) { results { position { id } } } }`;
const UPDATE = `mutation ($input: UpdatePositionsInput!) {
  updatePositions(input: $input) { counts { updated } } }`;
const WATCH = 'subscription { positionChanges(account: "main") { kind at position { id } } }';

interface Event {
  readonly kind: string;
  readonly at: string;
}

/** One by one, so that what else the machine does slows down both. */
async function timeBoth(world: World, count: number) {
  const stepNotify = await openNotify(world);
  const { step: stepStream, close } = await openStream(world);
  const notify: number[] = [];
  const stream: number[] = [];
  for (let step = 0; step < count + WARM_UP; step += 1) {
    const notifyMs = await stepNotify(step);
    const streamMs = await stepStream(step);
    if (step < WARM_UP) continue;
    notify.push(notifyMs);
    stream.push(streamMs);
  }
  await close();
  return { notify, stream };
}

async function openStream({ client, url, key }: World) {
  const item = { exchange: 'bybit', symbol: 'BTCUSDT', side: 'LONG', quantity: '1' };
  const opened = await client.query<{
    openPositions: { results: { position: { id: string } }[] };
  }>(OPEN, { input: { account: 'main', items: [{ ...item, entryPrice: '60000' }] } });
  const id = opened.openPositions.results[0]?.position.id;
  const socket = createClient({
    url: `${url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${key}` },
  });
  const events = socket.iterate<{ positionChanges: Event }>({ query: WATCH });
  const next = async () => {
    const { value } = await events.next();
    return { event: value.data.positionChanges as Event, arrivedMs: nowMs() };
  };
  // CAUGHT_UP: the subscription follows from here.
  await next();
  return {
    async step(step: number): Promise<number> {
      const items = [{ id, stopLossPrice: String(50_000 + step) }];
      const [{ event, arrivedMs }] = await Promise.all([
        next(),
        client.post(makeBody(UPDATE, { input: { account: 'main', items } })),
      ]);
      if (event.kind !== 'CHANGE') throw new Error(`a ${event.kind} came instead of the change`);
      return arrivedMs - millisecondsOf(event.at);
    },
    close: () => socket.dispose(),
  };
}

/** With the fraction that Date cuts off. */
function millisecondsOf(instant: string): number {
  return Date.parse(`${instant.slice(0, 19)}Z`) + Number(`0${instant.slice(19, -1)}`) * 1000;
}

async function openNotify(world: World): Promise<(step: number) => Promise<number>> {
  const listener = world.openDriver();
  const writer = world.openDriver();
  await writer`create table bench_notify (id int, at timestamptz)`;
  let heard: (latencyMs: number) => void = () => undefined;
  await listener.listen('bench', (payload) => heard(nowMs() - Number(payload) / 1000));
  return async (step) => {
    const latency = new Promise<number>((resolve) => {
      heard = resolve;
    });
    await notify(writer, step);
    return await latency;
  };
}

async function notify(writer: postgres.Sql, step: number): Promise<void> {
  await writer`begin`;
  await writer`insert into bench_notify values (${step}, clock_timestamp())`;
  await writer`select pg_notify('bench',
    (extract(epoch from clock_timestamp()) * 1000000)::bigint::text)`;
  await writer`commit`;
}
