import { afterAll, beforeAll, expect, it } from 'vitest';
import { inputOf, OPEN } from '../support/documents.ts';
import { type Item, openItem } from '../support/make.ts';
import { type Chaos, COMMIT } from '../support/chaos.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let chaos: Chaos;

beforeAll(async () => {
  server = await startTestServer({ withChaos: true });
  if (server.chaos === null) throw new Error('no chaos');
  chaos = server.chaos;
});

afterAll(() => server.stop());

let keys = 0;

function headers(isKeyed: boolean): Record<string, string> {
  keys += 1;
  return isKeyed ? { 'idempotency-key': `lost-${keys}` } : {};
}

async function countsOf({ symbol }: Item): Promise<unknown> {
  const [row] = await server.sql`
    select (select count(*)::int from positions where symbol = ${String(symbol)}) as positions,
      (select count(*)::int from trades where symbol = ${String(symbol)}) as trades,
      (select count(*)::int from changes where after ->> 'symbol' = ${String(symbol)}) as changes`;
  return row;
}

const ONCE = { positions: 1, trades: 1, changes: 2 };

function attemptsIn(statements: readonly string[]): number {
  return statements.filter((name) => name === 'transaction.begin').length;
}

it.each([
  ['with a key', true],
  ['without a key', false],
])('answers a COMMIT whose answer was lost as what it was, %s', async (_what, isKeyed) => {
  const item = openItem();
  const lost = chaos.cutAt(COMMIT, 'after');
  server.statements();
  const answer = await server.request(OPEN, inputOf([item]), { headers: headers(isKeyed) });
  await lost;
  expect(answer.errors).toEqual([]);
  expect(answer.data).toMatchObject({ openPositions: { counts: { created: 1 } } });
  expect(answer.extensions.commit).toHaveLength(1);
  expect(attemptsIn(server.statements())).toBe(1);
  expect(await countsOf(item)).toEqual(ONCE);
});

it.each([
  ['with a key', true],
  ['without a key', false],
])('runs again what was rolled back because COMMIT never arrived, %s', async (_what, isKeyed) => {
  const item = openItem();
  const lost = chaos.cutAt(COMMIT, 'before');
  server.statements();
  const answer = await server.request(OPEN, inputOf([item]), { headers: headers(isKeyed) });
  await lost;
  expect(answer.errors).toEqual([]);
  expect(answer.data).toMatchObject({ openPositions: { counts: { created: 1 } } });
  expect(attemptsIn(server.statements())).toBe(2);
  expect(await countsOf(item)).toEqual(ONCE);
});

it('replays an answer whose commit was settled', async () => {
  const item = openItem();
  const given = headers(true);
  const lost = chaos.cutAt(COMMIT, 'after');
  const first = await server.request(OPEN, inputOf([item]), { headers: given });
  await lost;
  const again = await server.request(OPEN, inputOf([item]), { headers: given });
  expect(again.data).toEqual(first.data);
  expect(again.extensions.replayed).toBe(true);
  expect(await countsOf(item)).toEqual(ONCE);
});

it.each(['before', 'after'] as const)(
  'runs again when the connection breaks %s a statement in the middle',
  async (when) => {
    // Statements are sent by name once a session has prepared them; a new session has not.
    chaos.cut();
    const item = openItem();
    const lost = chaos.cutAt('/* trades.insertMany */', when);
    server.statements();
    const answer = await server.request(OPEN, inputOf([item]));
    await lost;
    expect(answer.errors).toEqual([]);
    expect(attemptsIn(server.statements())).toBeGreaterThanOrEqual(2);
    expect(await countsOf(item)).toEqual(ONCE);
  },
);

it('settles what four requests lost at once', async () => {
  const items = Array.from({ length: 4 }, () => openItem());
  const lost = items.map((_item, index) => chaos.cutAt(COMMIT, index % 2 ? 'before' : 'after'));
  const answers = await Promise.all(
    items.map((item) => server.request(OPEN, inputOf([item]), { headers: headers(true) })),
  );
  await Promise.all(lost);
  expect(answers.map(({ errors }) => errors)).toEqual([[], [], [], []]);
  for (const item of items) expect(await countsOf(item)).toEqual(ONCE);
});
