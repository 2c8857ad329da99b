import { Decimal } from 'decimal.js';
import { z } from 'zod';
import { type Client, createIdempotencyKey, RequestError } from './client.ts';
import {
  CANCEL_ALL,
  LIST_POSITIONS,
  type ListPositionsData,
  type PositionRow,
  type TradeData,
  type TradeField,
  tradeDocument,
} from './documents.ts';
import type { Exchange, StepItems } from './exchange.ts';
import type { MarketStep } from './market.ts';
import { type HeldPosition, type Intent, STRATEGY } from './strategy.ts';
import type { Wallet } from './wallet.ts';

/** The bot's positions and orders: what it holds, and its only way to change that. */
export interface Book {
  /** Open positions of the strategy, by symbol. */
  readonly held: ReadonlyMap<string, HeldPosition>;
  /** Of this run. */
  readonly totals: Readonly<Totals>;
  /** What was refused last, for people; null: nothing. */
  readonly refusal: string | null;
  /** Cancels orders that an earlier run left open, and takes over what is open of its positions. */
  synchronize(): Promise<void>;
  /** Sends what becomes of the intents as one unit; a refused item is noted, not thrown. */
  carryOut(step: MarketStep, intents: Iterable<Intent>): Promise<void>;
  /** A position as somebody's change left it; older versions than the known one are ignored. */
  observe(position: PositionRow): void;
  /** Says that changes may have been missed: `carryOut` synchronizes when it is done. */
  distrust(): void;
}

interface Totals {
  orders: number;
  fills: number;
  closed: number;
  realizedPnl: Decimal;
  fees: Decimal;
}

interface BookOptions {
  readonly client: Client;
  readonly account: string;
  readonly symbols: readonly string[];
  readonly exchange: Exchange;
  /** Null: its balance is not told. */
  readonly wallet: Wallet | null;
}

const POSITIONS_MAX = 100;
/** The balance is told every so many steps. */
const WALLET_STEPS = 4;
const TRADE_FIELDS = ['cancels', 'orders', 'reports', 'fills', 'positions', 'signals'] as const;

const notesSchema = z.object({ trailBy: z.string(), expiresAt: z.iso.datetime() });

export function createBook(options: BookOptions): Book {
  const { client, account, symbols, exchange, wallet } = options;
  const positions = createPositions();
  const totals = createTotals();
  let refusal: string | null = null;
  let isTrusted = false;
  let steps = 0;

  function observe(row: PositionRow): void {
    if (positions.observe(row)) totals.closed += 1;
  }

  async function synchronize(): Promise<void> {
    const input = { account, where: { strategy: STRATEGY }, reason: 'DEMO_STARTED_ANEW' };
    await client.request(CANCEL_ALL, { input }, { idempotencyKey: createIdempotencyKey() });
    exchange.forget();
    const { positions: page } = await client.request<ListPositionsData>(LIST_POSITIONS, {
      account,
      where: { symbols, status: ['OPEN'] },
      first: POSITIONS_MAX,
    });
    positions.reset(page?.nodes ?? []);
    isTrusted = true;
  }

  function note(field: TradeField, code: string): void {
    isTrusted = false;
    // The first is the cause of those that follow.
    refusal ??= `${field} refused: ${code}`;
  }

  async function send(items: StepItems, isBalanceDue: boolean): Promise<void> {
    const variables = variablesOf(account, items);
    if (isBalanceDue && wallet !== null) {
      const balance = wallet.balance(positions.held.values(), totals);
      variables.set('balances', { account, items: [balance] });
    }
    if (variables.size === 0) return;
    const data = await client.request<TradeData>(
      tradeDocument(new Set(variables.keys())),
      Object.fromEntries(variables),
      { idempotencyKey: createIdempotencyKey() },
    );
    for (const field of TRADE_FIELDS) {
      for (const { error } of data[field]?.results ?? []) {
        if (error !== null) note(field, error.code);
      }
    }
    addTo(totals, data);
    for (const row of positionsOf(data)) {
      observe(row);
      if (row.status === 'OPEN') positions.hold(row);
    }
  }

  return {
    held: positions.held,
    totals,
    get refusal() {
      return refusal;
    },
    synchronize,
    observe,
    distrust() {
      isTrusted = false;
    },
    async carryOut(step, intents) {
      refusal = null;
      const wanted = [...intents].filter(
        (intent) => intent.kind !== 'OPEN' || !positions.isOthers(intent.entry.symbol),
      );
      steps += 1;
      try {
        const items = exchange.trade(step, wanted, positions.held);
        await send(items, steps % WALLET_STEPS === 1);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        isTrusted = false;
        refusal = `trading refused: ${error.code}`;
      }
      if (!isTrusted) await synchronize();
    },
  };
}

/** What is open of each symbol: the strategy's own, and what it keeps away from. */
function createPositions() {
  const held = new Map<string, HeldPosition>();
  const others = new Map<string, string>();

  function hold(row: PositionRow): void {
    const known = held.get(row.symbol);
    if (known?.id === row.id && row.version <= known.version) return;
    const position = row.strategy === STRATEGY ? toHeld(row) : null;
    if (position !== null) {
      others.delete(row.id);
      held.set(row.symbol, position);
      return;
    }
    // It is somebody's own, or its stops or notes were taken away: somebody looks after it.
    if (known?.id === row.id) held.delete(row.symbol);
    others.set(row.id, row.symbol);
  }

  return {
    held,
    hold,
    isOthers: (symbol: string) => [...others.values()].includes(symbol),
    /** Whether it closes a position of the strategy. */
    observe(row: PositionRow): boolean {
      const known = held.get(row.symbol);
      const isOwn = known?.id === row.id;
      if (row.status !== 'OPEN') {
        others.delete(row.id);
        return isOwn && row.version > known.version && held.delete(row.symbol);
      }
      // Of its own it knows those that it opened; others may be opened at any time.
      if (isOwn || row.strategy !== STRATEGY) hold(row);
      return false;
    },
    reset(rows: readonly PositionRow[]): void {
      held.clear();
      others.clear();
      for (const row of rows) hold(row);
    },
  };
}

/** The inputs of the fields that have items; the rest of a unit does not fall with one item. */
function variablesOf(account: string, items: StepItems): Map<TradeField, object> {
  const { cancels, ...batches } = items;
  const variables = new Map<TradeField, object>();
  if (cancels.length > 0) {
    const reason = 'NOT_FILLED_IN_TIME';
    variables.set('cancels', { account, mode: 'PER_ITEM', clientOrderIds: cancels, reason });
  }
  for (const field of TRADE_FIELDS) {
    if (field === 'cancels' || batches[field].length === 0) continue;
    variables.set(field, { account, mode: 'PER_ITEM', items: batches[field] });
  }
  return variables;
}

/** In the order of the fields: a later row of a position is its newer version. */
function positionsOf({ fills, positions }: TradeData): readonly PositionRow[] {
  const filled = fills?.results.flatMap((one) => [one.position, one.openedPosition]) ?? [];
  const updated = positions?.results.map((one) => one.position) ?? [];
  return [...filled, ...updated].filter((row) => row !== null);
}

function createTotals(): Totals {
  return { orders: 0, fills: 0, closed: 0, realizedPnl: new Decimal(0), fees: new Decimal(0) };
}

function addTo(totals: Totals, { orders, fills }: TradeData): void {
  totals.orders += countCreated(orders?.results ?? []);
  totals.fills += countCreated(fills?.results ?? []);
  for (const { trade } of fills?.results ?? []) {
    totals.realizedPnl = totals.realizedPnl.plus(trade?.realizedPnl ?? 0);
    totals.fees = totals.fees.plus(trade?.commission ?? 0);
  }
}

function countCreated(results: readonly { readonly status: string }[]): number {
  return results.filter(({ status }) => status === 'CREATED').length;
}

/** An operator may halt trading or a rule may refuse; only a lost key makes going on pointless. */
function isRefusal(error: unknown): error is RequestError {
  return error instanceof RequestError && error.code !== 'UNAUTHENTICATED';
}

function toHeld(row: PositionRow): HeldPosition | null {
  const notes = notesSchema.safeParse(row.metadata);
  const { stopLossPrice, takeProfitPrice } = row;
  if (!notes.success || stopLossPrice === null || takeProfitPrice === null) {
    return null;
  }
  const { id, exchange, symbol, side, quantity, entryPrice, leverage, version } = row;
  return {
    ...notes.data,
    id,
    exchange,
    symbol,
    side,
    quantity,
    entryPrice,
    stopLossPrice,
    takeProfitPrice,
    leverage,
    stopTriggeredKind: row.stopTriggeredKind,
    version,
  };
}
