import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openOne, predict, update } from '../support/documents.ts';
import {
  type EventStreamOptions,
  openEventStream,
  type TestEventStream,
} from '../support/event-stream.ts';
import { openItem, predictionItem } from '../support/make.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { fillItem, placeOne, recordOne } from '../support/trading.ts';

/** Over SSE a browser goes on where it was: the id of an event is its cursor. */

let server: TestServer;
let positionId: string;
const streams: TestEventStream[] = [];

beforeAll(async () => {
  server = await startTestServer();
  positionId = (await openOne(server, openItem())).id;
});

afterEach(() => {
  for (const stream of streams.splice(0)) stream.close();
});

afterAll(() => server.stop());

const WATCH = `subscription ($after: String) {
  positionChanges(account: "main", after: $after) { kind seq position { stopLossPrice } } }`;

async function open(options: EventStreamOptions = {}, query = WATCH): Promise<TestEventStream> {
  const stream = await openEventStream(server, query, server.key, options);
  streams.push(stream);
  return stream;
}

const resume = (cursor: string, variables: object = {}) =>
  open({ headers: { 'last-event-id': cursor }, variables });

/** The events of a text, with their ids. */
function eventsOf(text: string) {
  return text
    .split('\n\n')
    .filter((block) => block.includes('event: next'))
    .map((block) => {
      const line = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? null;
      const payload = JSON.parse(line('data') ?? 'null');
      return { id: line('id'), ...payload.data?.positionChanges, errors: payload.errors };
    });
}

async function stop(price: string): Promise<void> {
  await update(server, [{ id: positionId, stopLossPrice: price }]);
}

/** Three stops set, and the cursor after the first of them. */
async function writeThree(prices: readonly [string, string, string]): Promise<string> {
  const stream = await open();
  await stream.read('CAUGHT_UP');
  for (const price of prices) await stop(price);
  const events = eventsOf(await stream.read(`"${prices[2]}"`));
  stream.close();
  const first = events.find(({ position }) => position?.stopLossPrice === prices[0]);
  return first?.id ?? '';
}

describe('an event over SSE', () => {
  it('has its cursor as id, whether it is selected or not', async () => {
    const query = WATCH.replace('kind', 'kind cursor');
    const stream = await open({}, query);
    await stream.read('CAUGHT_UP');
    await stop('11.5');
    const events = eventsOf(await stream.read('"11.5"'));
    expect(events.map(({ kind }) => kind)).toEqual(['CAUGHT_UP', 'CHANGE']);
    for (const { id, cursor } of events) expect(id).toBe(cursor);
    const plain = await open();
    const [caughtUp] = eventsOf(await plain.read('CAUGHT_UP'));
    expect(caughtUp?.id).toMatch(/^\w+\.\d+/);
  });

  it.each(['orderChanges', 'tradeExecutions', 'predictionsLogged', 'changes'])(
    'of %s has one, too',
    async (field) => {
      const stream = await open({}, `subscription { ${field}(account: "main") { kind } }`);
      await stream.read('CAUGHT_UP');
      await predict(server, [predictionItem()]);
      const { clientOrderId } = await placeOne(server);
      await recordOne(server, fillItem(clientOrderId));
      const text = await stream.read('"CHANGE"');
      expect(text).toMatch(/"CHANGE".*\nid: \w+\.\d+\.[0-9a-f]{8}\n/);
    },
  );

  it('has none where there is no place', async () => {
    const stream = await open({}, 'subscription { healthMetrics { status } }');
    expect(await stream.read('HEALTHY')).not.toContain('id: ');
  });
});

describe('Last-Event-ID', () => {
  it('goes on after that event: each that follows comes once', async () => {
    const cursor = await writeThree(['21.5', '22.5', '23.5']);
    const stream = await resume(cursor);
    await stop('24.5');
    const events = eventsOf(await stream.read('"24.5"'));
    const prices = events.flatMap(({ position }) => position?.stopLossPrice ?? []);
    expect(prices).toEqual(['22.5', '23.5', '24.5']);
  });

  it('is newer than the argument', async () => {
    const first = await writeThree(['31.5', '32.5', '33.5']);
    const last = await writeThree(['34.5', '35.5', '36.5']);
    const stream = await resume(last, { after: first });
    const events = eventsOf(await stream.read('CAUGHT_UP'));
    const prices = events.flatMap(({ position }) => position?.stopLossPrice ?? []);
    expect(prices).toEqual(['35.5', '36.5']);
  });

  it('of another history is a RESET', async () => {
    const stream = await resume('elsewhere.1');
    const events = eventsOf(await stream.read('CAUGHT_UP'));
    expect(events.map(({ kind }) => kind)).toEqual(['RESET', 'CAUGHT_UP']);
  });

  it('is refused with its name where it is no cursor', async () => {
    const stream = await resume('not a cursor');
    const text = await stream.read('event: complete');
    expect(text).toContain('"code":"BAD_INPUT"');
    expect(text).toContain('["headers","last-event-id"]');
  });

  it('means nothing to a query', async () => {
    const answer = await server.request(
      '{ viewer { role } }',
      {},
      {
        headers: { 'last-event-id': 'not a cursor' },
      },
    );
    expect(answer.data).toEqual({ viewer: { role: 'ADMIN' } });
  });
});
