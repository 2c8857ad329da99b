import { Decimal } from 'decimal.js';
import { z } from 'zod';
import { type Client, createIdempotencyKey, RequestError } from './client.ts';
import {
  CLOSE_POSITIONS,
  LIST_POSITIONS,
  type ListPositionsData,
  OPEN_POSITIONS,
  type PositionRow,
  type PositionsData,
  UPDATE_POSITIONS,
} from './documents.ts';
import { type HeldPosition, type Intent, STRATEGY } from './strategy.ts';

/** The bot's positions: what it holds, and its only way to change that. */
export interface Book {
  /** Open positions of the strategy, by symbol. */
  readonly held: ReadonlyMap<string, HeldPosition>;
  readonly totals: Readonly<Totals>;
  /** What was refused last, for people; null: nothing. */
  readonly refusal: string | null;
  /** Takes over the open positions of an earlier run, and forgets what is not open any more. */
  synchronize(): Promise<void>;
  /** Sends closes, moved stops and opens, one request each; a refused item is noted, not thrown. */
  carryOut(intents: Iterable<Intent>): Promise<void>;
  /** A position as somebody's change left it; older versions than the known one are ignored. */
  observe(position: PositionRow): void;
  /** Says that changes may have been missed: `carryOut` synchronizes when it is done. */
  distrust(): void;
}

interface Totals {
  closed: number;
  realizedPnl: Decimal;
  fees: Decimal;
}

interface BookOptions {
  readonly client: Client;
  readonly account: string;
  readonly symbols: readonly string[];
}

const REQUESTS = [
  { kind: 'CLOSE', document: CLOSE_POSITIONS },
  { kind: 'MOVE_STOP', document: UPDATE_POSITIONS },
  { kind: 'OPEN', document: OPEN_POSITIONS },
] as const;

const POSITIONS_MAX = 100;

const notesSchema = z.object({ trailBy: z.string(), expiresAt: z.iso.datetime() });

export function createBook({ client, account, symbols }: BookOptions): Book {
  const held = new Map<string, HeldPosition>();
  const totals: Totals = { closed: 0, realizedPnl: new Decimal(0), fees: new Decimal(0) };
  let refusal: string | null = null;
  let isTrusted = false;

  function observe(row: PositionRow): void {
    const known = held.get(row.symbol);
    if (known?.id !== row.id || row.version <= known.version) {
      return;
    }
    if (row.status === 'OPEN') {
      hold(row);
      return;
    }
    held.delete(row.symbol);
    totals.closed += 1;
    totals.realizedPnl = totals.realizedPnl.plus(row.realizedPnl);
    totals.fees = totals.fees.plus(row.fees);
  }

  function hold(row: PositionRow): void {
    const position = toHeld(row);
    if (position === null) {
      // Its stops or notes were taken away: somebody else looks after it now.
      held.delete(row.symbol);
    } else {
      held.set(row.symbol, position);
    }
  }

  async function synchronize(): Promise<void> {
    const { positions } = await client.request<ListPositionsData>(LIST_POSITIONS, {
      account,
      where: { strategy: STRATEGY, symbols, status: ['OPEN'] },
      first: POSITIONS_MAX,
    });
    held.clear();
    for (const row of positions?.nodes ?? []) {
      hold(row);
    }
    isTrusted = true;
  }

  async function send(kind: Intent['kind'], document: string, items: readonly object[]) {
    const input = { account, mode: 'PER_ITEM', items };
    const idempotencyKey = createIdempotencyKey();
    const data = await client.request<PositionsData>(document, { input }, { idempotencyKey });
    for (const { position, error } of data.positions.results) {
      if (error !== null || position === null) {
        isTrusted = false;
        refusal = `${kind} refused: ${error?.code ?? 'no position'}`;
      } else if (kind === 'OPEN' && position.status === 'OPEN') {
        hold(position);
      } else {
        observe(position);
      }
    }
  }

  return {
    held,
    totals,
    get refusal() {
      return refusal;
    },
    synchronize,
    observe,
    distrust() {
      isTrusted = false;
    },
    async carryOut(intents) {
      const wanted = [...intents];
      refusal = null;
      for (const { kind, document } of REQUESTS) {
        const items = wanted.filter((each) => each.kind === kind).map((each) => each.item);
        if (items.length === 0) {
          continue;
        }
        try {
          await send(kind, document, items);
        } catch (error) {
          if (!isRefusal(error)) {
            throw error;
          }
          isTrusted = false;
          refusal = `${kind} refused: ${error.code}`;
        }
      }
      if (!isTrusted) {
        await synchronize();
      }
    },
  };
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
  const { id, symbol, side, quantity, entryPrice, version } = row;
  return {
    ...notes.data,
    id,
    symbol,
    side,
    quantity,
    entryPrice,
    stopLossPrice,
    takeProfitPrice,
    version,
  };
}
