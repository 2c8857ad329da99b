import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Decimal } from 'decimal.js';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createApiClient } from '../../cli/demo/client.ts';

const REAL_CANDLES = '../shared/data/btc-candles-1m.json';
/** Of a whole test: a database is made, started and stopped in it. */
const TEST_MS_MAX = 120_000;
const WAIT = { timeout: 60_000, interval: 100 };

interface Demo {
  readonly process: ChildProcess;
  readonly exited: Promise<unknown[]>;
  readonly home: string;
  /** What both processes have written so far. */
  output(): string;
}

let demos: Demo[] = [];
let homes: string[] = [];

afterEach(async () => {
  for (const demo of demos) {
    demo.process.kill('SIGTERM');
    await demo.exited;
  }
  // The database of a killed server ends a moment after it.
  const removal = { recursive: true, force: true, maxRetries: 100, retryDelay: 100 };
  for (const home of homes) await rm(home, removal);
  [demos, homes] = [[], []];
});

describe('tradewind demo', () => {
  it('opens, moves and closes positions until it is ended', { timeout: TEST_MS_MAX }, async () => {
    const demo = await startDemo(await makeHome(), '--speed', '100', '--seed', '7');
    const read = await connect(demo);
    await vi.waitFor(async () => {
      const { open, closed, predictions } = await read<Counts>(COUNTS);
      expect(open.totalCount).toBeGreaterThan(0);
      expect(closed.totalCount).toBeGreaterThan(5);
      expect(predictions.totalCount).toBeGreaterThan(2_112);
    }, WAIT);
    await vi.waitFor(async () => {
      const { orders, closed } = await read<Ends>(ENDS);
      const states = orders.nodes.map(({ status }) => status);
      expect(states).toEqual(expect.arrayContaining(['FILLED', 'CANCELED', 'EXPIRED', 'REJECTED']));
      expect(closed.nodes.map(({ closeReason }) => closeReason)).toContain('STOP_LOSS');
    }, WAIT);
    const { predictionAccuracy } = await read<Accuracies>(ACCURACY);
    expect(predictionAccuracy).toHaveLength(4);
    for (const { resolved, accuracy } of predictionAccuracy) {
      expect(resolved).toBeGreaterThan(1_500);
      // Four deviations of a binomial with p = 0.47.
      expect(Math.abs(accuracy.value - 0.47)).toBeLessThan(2 / Math.sqrt(resolved));
    }
    const { closed, signals, balances } = await read<ClosedPositions>(CLOSED);
    for (const position of closed.nodes) {
      expect(position.closeReason).toMatch(/^[A-Z_]+$/);
      expect(position.quantity).toBe('0');
      expectFills(position);
    }
    expect(signals.totalCount).toBeGreaterThan(5);
    expect(balances).toMatchObject([{ asset: 'USDT' }]);
    demo.process.kill('SIGTERM');
    expect(await demo.exited).toEqual([0, null]);
    expect(demo.output()).toMatch(/orders [1-9].*fills [1-9].*events [1-9]/);
    expect(demo.output()).not.toContain('refused');
  });

  it('goes on where it ended', { timeout: TEST_MS_MAX }, async () => {
    const home = await makeHome();
    const first = await startDemo(home, '--speed', '20');
    const readFirst = await connect(first);
    await vi.waitFor(async () => {
      expect((await readFirst<Counts>(COUNTS)).open.totalCount).toBeGreaterThan(1);
    }, WAIT);
    const { openPositions } = await readFirst<Opened>(OPEN_WITHOUT_FILLS);
    const old = openPositions.results.flatMap(({ position }) => position?.id ?? []);
    expect(old.length).toBeGreaterThan(0);
    first.process.kill('SIGTERM');
    await first.exited;

    const second = await startDemo(home, '--speed', '20');
    const read = await connect(second);
    await vi.waitFor(async () => {
      expect((await read<Counts>(COUNTS)).closed.totalCount).toBeGreaterThan(2);
    }, WAIT);
    await vi.waitFor(async () => {
      const { nodes } = await read<Nodes>(`{ nodes(ids: ${JSON.stringify(old)}) { ${STATUS} } }`);
      expect(nodes).toEqual(old.map(() => ({ status: 'CLOSED' })));
    }, WAIT);
    const { candles } = await read<Candles>(CANDLES);
    for (const [index, candle] of candles.entries()) {
      const before = candles[index - 1];
      expect(candle.open).toBe(before?.close ?? candle.open);
      expect(Date.parse(candle.openTime)).toBe(
        before ? Date.parse(before.openTime) + 900_000 : Date.parse(candle.openTime),
      );
    }
    expect(second.output()).toContain('Going on where an earlier run ended');
    expect(second.output()).not.toContain('refused');
  });

  it('ends when the process that started it is killed', { timeout: TEST_MS_MAX }, async () => {
    const demo = await startDemo(await makeHome(), '--speed', '10');
    await vi.waitFor(() => expect(demo.output()).toContain('predictions of history'), WAIT);
    const closed = once(demo.process, 'close');
    demo.process.kill('SIGKILL');
    // The pipe of its output closes when the last process that holds it is gone: the bot.
    await closed;
    expect(demo.output()).not.toContain('has stopped');
  });

  it.skipIf(!existsSync(REAL_CANDLES))(
    'replays real candles and leaves the server running',
    { timeout: TEST_MS_MAX },
    async () => {
      const candles = ['--candles', REAL_CANDLES, '--symbol', 'XYZBTC'];
      const demo = await startDemo(await makeHome(), '--speed', '1000', ...candles);
      const read = await connect(demo);
      await vi.waitFor(() => expect(demo.output()).toContain('The candles have ended'), WAIT);
      const replayed = await read<Candles>(CANDLES.replace('BTCUSDT', 'XYZBTC'));
      expect(replayed.candles).toHaveLength(960);
      expect(replayed.candles[0]?.openTime).toBe('2017-11-04T23:00:00.000000Z');
      const { closed } = await read<Counts>(COUNTS);
      expect(closed.totalCount).toBeGreaterThan(5);
    },
  );
});

interface Total {
  readonly totalCount: number;
}

interface Counts {
  readonly open: Total;
  readonly closed: Total;
  readonly predictions: Total;
}

interface Accuracies {
  readonly predictionAccuracy: readonly {
    readonly resolved: number;
    readonly accuracy: { readonly value: number };
  }[];
}

const ACCURACY = `{
  predictionAccuracy(account: "main", groupBy: [HORIZON]) { resolved accuracy { value } }
}`;

const COUNTS = `{
  open: positions(account: "main", where: { status: [OPEN] }) { totalCount }
  closed: positions(account: "main", where: { status: [CLOSED] }) { totalCount }
  predictions(account: "main") { totalCount }
}`;

interface Ends {
  readonly orders: { readonly nodes: readonly { readonly status: string }[] };
  readonly closed: { readonly nodes: readonly { readonly closeReason: string }[] };
}

const ENDS = `{
  orders(account: "main", first: 500) { nodes { status } }
  closed: positions(account: "main", where: { status: [CLOSED] }, first: 500) {
    nodes { closeReason }
  }
}`;

interface ClosedPosition {
  readonly closeReason: string;
  readonly realizedPnl: string;
  readonly fees: string;
  readonly quantity: string;
  readonly trades: readonly {
    readonly price: string;
    readonly quantity: string;
    readonly commission: string;
    readonly realizedPnl: string;
    readonly order: { readonly status: string } | null;
  }[];
}

interface ClosedPositions {
  readonly closed: { readonly nodes: readonly ClosedPosition[] };
  readonly signals: Total;
  readonly balances: readonly { readonly asset: string }[];
}

const CLOSED = `{
  closed: positions(account: "main", where: { status: [CLOSED] }) {
    nodes {
      closeReason realizedPnl fees quantity
      trades { price quantity commission realizedPnl order { status } }
    }
  }
  signals(account: "main") { totalCount }
  balances(account: "main") { asset }
}`;

/** What a position says of itself is the sum of its fills, to the last digit. */
function expectFills({ fees, realizedPnl, trades }: ClosedPosition): void {
  const sum = (amounts: readonly (string | Decimal)[]) =>
    amounts.reduce<Decimal>((total, amount) => total.plus(amount), new Decimal(0)).toFixed();
  expect(trades.length).toBeGreaterThan(1);
  expect(trades.every(({ order }) => order !== null)).toBe(true);
  expect(sum(trades.map((trade) => trade.commission))).toBe(fees);
  expect(
    sum(trades.map(({ price, quantity }) => new Decimal(price).times(quantity).times('0.00055'))),
  ).toBe(fees);
  expect(sum(trades.map((trade) => trade.realizedPnl))).toBe(realizedPnl);
}

interface Opened {
  readonly openPositions: {
    readonly results: readonly { readonly position: { readonly id: string } | null }[];
  };
}

/** As the demo opened positions before it placed orders, long after their time was over. */
const OPEN_WITHOUT_FILLS = `mutation {
  openPositions(input: {
    account: "main", mode: PER_ITEM
    items: [${['ADA', 'AVAX', 'BNB', 'BTC', 'DOGE', 'DOT', 'ETH', 'LINK', 'LTC', 'SOL', 'XRP']
      .map(
        (base) => `{
          exchange: "bybit", symbol: "${base}USDT", side: LONG, quantity: "1", strategy: "demo"
          entryPrice: "1000000", stopLossPrice: "0.01", takeProfitPrice: "9000000"
          metadata: { trailBy: "1000000", expiresAt: "2015-01-01T00:00:00.000Z" }
        }`,
      )
      .join('\n')}]
  }) { results { position { id status } } }
}`;

interface Nodes {
  readonly nodes: readonly object[];
}

const STATUS = '... on Position { status }';

interface Candles {
  readonly candles: readonly { openTime: string; open: string; close: string }[];
}

const CANDLES = `{
  candles(exchange: "bybit", symbol: "BTCUSDT", interval: "15m", last: 1000) {
    openTime open close
  }
}`;

async function makeHome(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'tw-'));
  homes.push(home);
  return home;
}

async function startDemo(home: string, ...options: readonly string[]): Promise<Demo> {
  const child = spawn(process.execPath, ['bin/tradewind.js', 'demo', ...options], {
    env: { ...process.env, TRADEWIND_HOME: home, PORT: '0', LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }
  const demo = { process: child, exited: once(child, 'exit'), home, output: () => output };
  demos.push(demo);
  await vi.waitFor(() => expect(output).toMatch(READY), WAIT);
  return demo;
}

const READY = /ready at (http:\S+)/;

/** Reads from the demo's server as its administrator. */
async function connect(demo: Demo): Promise<<Data>(document: string) => Promise<Data>> {
  const url = READY.exec(demo.output())?.[1] ?? '';
  const key = (await readFile(join(demo.home, 'admin-key'), 'utf8')).trim();
  const client = createApiClient({ url, key, signal: new AbortController().signal });
  return (document) => client.request(document, {});
}
