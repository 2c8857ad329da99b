import { setTimeout as sleep } from 'node:timers/promises';
import { type Book, createBook } from './book.ts';
import { type Client, createApiClient, createIdempotencyKey } from './client.ts';
import {
  FOLLOW_POSITIONS,
  LOG_HISTORY,
  LOG_STEP,
  MARK_PRICES,
  type MarksData,
  type PositionEvent,
} from './documents.ts';
import { createExchange } from './exchange.ts';
import { CANDLE_MS, type MarketStep } from './market.ts';
import { createMarker, type Marker } from './marks.ts';
import {
  createLiveLine,
  formatProgress,
  type LiveLine,
  type Output,
  type Progress,
} from './progress.ts';
import { createScoreboard, type Scoreboard } from './scoreboard.ts';
import type { BotSettings } from './settings.ts';
import { CANDLE_SECONDS, openSource, type Source } from './source.ts';
import { decide } from './strategy.ts';
import { openWallet, WALLET_ASSET } from './wallet.ts';

/** Items a mutation takes at most. */
const BATCH_ITEMS_MAX = 1_000;
const REFRESH_MS = 250;

interface Session {
  readonly settings: BotSettings;
  readonly signal: AbortSignal;
  readonly client: Client;
  readonly source: Source;
  readonly book: Book;
  readonly marker: Marker;
  readonly line: LiveLine;
  readonly scoreboard: Scoreboard;
  predictions: number;
  events: number;
  candleAtMs: number | null;
  note: string | null;
}

/**
 * Writes the history, then trades candle by candle until the candles end or `signal` is aborted.
 * Positions that are open then stay open; the next run takes them over.
 *
 * @throws RequestError the server refuses the market data or the key
 * @throws FatalError the candles cannot be used, or the server is gone for too long
 * @throws the signal's reason, once it is aborted
 */
export async function runSession(
  settings: BotSettings,
  signal: AbortSignal,
  output: Output,
): Promise<void> {
  const ended = new AbortController();
  const client = createApiClient({
    url: settings.url,
    key: settings.key,
    signal: AbortSignal.any([signal, ended.signal]),
  });
  const source = await openSource(settings, client, Date.now());
  const session: Session = {
    settings,
    signal,
    client,
    source,
    book: await openBook(settings, client, source),
    marker: createMarker(),
    line: createLiveLine(output),
    scoreboard: createScoreboard(),
    predictions: 0,
    events: 0,
    candleAtMs: null,
    note: null,
  };
  const following = followPositions(session);
  const show = () => session.line.update(() => progressOf(session));
  const refresh = setInterval(show, REFRESH_MS);
  try {
    await runMarket(session);
    session.line.say('The candles have ended: the server has all of them.');
  } finally {
    clearInterval(refresh);
    ended.abort();
    await following;
    session.line.say(formatProgress(progressOf(session)));
  }
}

async function openBook(settings: BotSettings, client: Client, source: Source): Promise<Book> {
  const { account, seed } = settings;
  const { instruments } = source;
  return createBook({
    client,
    account,
    symbols: [...instruments.keys()],
    exchange: createExchange({ seed, instruments }),
    wallet: quoteOf(source) === WALLET_ASSET ? await openWallet(client, account) : null,
  });
}

async function runMarket(session: Session): Promise<void> {
  const { book, line, settings, source } = session;
  await book.synchronize();
  const startedAt = Date.now();
  const steps = source.steps[Symbol.iterator]();
  const firstLive = await writeHistory(session, steps);
  const candleMs = (CANDLE_SECONDS * 1_000) / settings.speed;
  const seconds = ((Date.now() - startedAt) / 1_000).toFixed(1);
  const history = `${session.predictions.toLocaleString('en-US')} predictions of history`;
  const past =
    session.predictions === 0
      ? 'Going on where an earlier run ended'
      : `${history} in ${seconds} s`;
  line.say(`${past}; now a candle every ${candleMs} ms.`);
  let dueAtMs = Date.now();
  for (let step = firstLive; step !== null; step = nextOf(steps)) {
    await waitForCandle(session, step, dueAtMs);
    // A server that was away is not flooded with what was missed: the demo goes on from now.
    dueAtMs = Math.max(dueAtMs, Date.now() - candleMs) + candleMs;
    await logStep(session, step);
    await book.carryOut(step, decide(step, book.held, source.instruments));
  }
}

/** Writes the steps before the present in batches. The first live step; null: there is none. */
async function writeHistory(
  session: Session,
  steps: Iterator<MarketStep>,
): Promise<MarketStep | null> {
  let batch: MarketStep[] = [];
  let items = 0;
  let step = nextOf(steps);
  for (; step !== null && step.openTimeMs < session.source.liveFromMs; step = nextOf(steps)) {
    if (items + step.candles.length > BATCH_ITEMS_MAX) {
      await logHistory(session, batch);
      batch = [];
      items = 0;
    }
    batch.push(step);
    items += step.candles.length;
  }
  if (batch.length > 0) {
    await logHistory(session, batch);
  }
  return step;
}

function nextOf(steps: Iterator<MarketStep>): MarketStep | null {
  const { done, value } = steps.next();
  return done === true ? null : value;
}

/** Resolves when the candle is due in the demo and has closed on the real clock. */
async function waitForCandle(session: Session, step: MarketStep, dueAtMs: number): Promise<void> {
  const closesAtMs = step.openTimeMs + CANDLE_MS;
  const isAhead = closesAtMs > Date.now();
  session.note = isAhead ? 'caught up with the clock: a candle every 15 minutes' : null;
  const waitMs = Math.max(0, Math.max(dueAtMs, closesAtMs) - Date.now());
  await sleep(waitMs, undefined, { signal: session.signal });
}

async function logHistory(session: Session, steps: readonly MarketStep[]): Promise<void> {
  const idempotencyKey = createIdempotencyKey();
  await session.client.request(LOG_HISTORY, marketOf(session, steps), { idempotencyKey });
  count(session, steps);
}

/** Candles, predictions and marks of a step; the stops that are crossed come into the book. */
async function logStep(session: Session, step: MarketStep): Promise<void> {
  const { book, client, marker } = session;
  const variables = { ...marketOf(session, [step]), ...marksOf(session, step) };
  const idempotencyKey = createIdempotencyKey();
  const marked = [await client.request<MarksData>(LOG_STEP, variables, { idempotencyKey })];
  if (marked.some(({ last }) => last.updated < step.candles.length)) {
    marker.useRealClock();
    const again = { idempotencyKey: createIdempotencyKey() };
    marked.push(await client.request<MarksData>(MARK_PRICES, marksOf(session, step), again));
  }
  for (const { first, second, last } of marked) {
    for (const { position } of [first, second, last].flatMap(({ triggered }) => triggered)) {
      book.observe(position);
    }
  }
  count(session, [step]);
}

function marksOf({ marker, settings: { account } }: Session, step: MarketStep) {
  const [first, second, last] = marker.marksOf(step).map((items) => ({ account, items }));
  return { first, second, last };
}

function marketOf(session: Session, steps: readonly MarketStep[]) {
  return {
    candles: { items: steps.flatMap((step) => step.candles) },
    predictions: {
      account: session.settings.account,
      // A prediction that somebody else has logged for this time must not stop the market.
      mode: 'PER_ITEM',
      items: steps.flatMap((step) => step.predictions),
    },
    // By the clock of the demo: by the real one, candles that are to come would be missing.
    outcomes: { account: session.settings.account, upTo: closeOf(steps) },
  };
}

/** When the last candle closes. */
function closeOf(steps: readonly MarketStep[]): string {
  return new Date((steps.at(-1)?.openTimeMs ?? 0) + CANDLE_MS).toISOString();
}

function count(session: Session, steps: readonly MarketStep[]): void {
  for (const step of steps) {
    session.scoreboard.add(step);
    session.candleAtMs = step.openTimeMs;
    session.predictions += step.predictions.length;
  }
}

function followPositions(session: Session): Promise<void> {
  // Of any strategy: the bot keeps away from symbols in which somebody else holds a position.
  const where = { symbols: [...session.source.instruments.keys()] };
  const variables = { account: session.settings.account, where };
  return session.client.follow<PositionEvent>(FOLLOW_POSITIONS, variables, (event) => {
    if (event.kind === 'RESET') {
      session.book.distrust();
    }
    if (event.position !== null) {
      session.events += 1;
      session.book.observe(event.position);
    }
  });
}

function progressOf(session: Session): Progress {
  const { book, candleAtMs, client, events, predictions, scoreboard, source } = session;
  return {
    at: new Date(),
    candleAtMs,
    predictions,
    hitRate: scoreboard.hitRate(),
    orders: book.totals.orders,
    fills: book.totals.fills,
    open: book.held.size,
    closed: book.totals.closed,
    realizedPnl: book.totals.realizedPnl,
    fees: book.totals.fees,
    quote: quoteOf(source),
    events,
    medianMs: client.medianMs(),
    note: client.isAway() ? 'the server does not answer' : (book.refusal ?? session.note),
  };
}

/** Null where the symbols are not all quoted in one known currency. */
function quoteOf({ instruments }: Source): string | null {
  return [...instruments.keys()].every((symbol) => symbol.endsWith('USDT')) ? 'USDT' : null;
}
