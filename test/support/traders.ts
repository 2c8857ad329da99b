import { setTimeout as delay } from 'node:timers/promises';
import { many, openItem } from './make.ts';
import { type Answer, createRequest } from './server.ts';
import { orderItem } from './trading.ts';
import type { Address } from './writers.ts';

/** Clients that open, change and close what is theirs, and have some of their units rolled back. */
export interface Traders {
  /** Names of the units that opened something, as `strategy` of each position and order. */
  readonly opened: ReadonlySet<string>;
  readonly counts: Readonly<Record<'units' | 'rolledBack' | 'retries' | 'replays', number>>;
  /** What no client may try again: nothing of the kind is expected. */
  readonly failures: readonly unknown[];
  /** Lets each client end its unit; resolves when all are acknowledged. */
  stop(): Promise<void>;
  /** Sends nothing any more, whatever is not answered. */
  abandon(): void;
}

/** Positions of a unit that opens some; there is one order with them. */
export const UNIT_POSITIONS = 2;
/** What units are called that must not be stored. */
const ROLLED_BACK = 'rolled-back';

const OPEN = `mutation open($positions: OpenPositionsInput!, $orders: PlaceOrdersInput!) {
  openPositions(input: $positions) { results { position { id } } }
  placeOrders(input: $orders) { results { order { id } } }
}`;
const CHANGE = `mutation change($positions: UpdatePositionsInput!, $orders: UpdateOrdersInput!) {
  updatePositions(input: $positions) { counts { updated } }
  updateOrders(input: $orders) { counts { updated } }
}`;
const CLOSE = `mutation close($positions: ClosePositionsInput!, $orders: CancelOrdersInput!) {
  closePositions(input: $positions) { counts { updated } }
  cancelOrders(input: $orders) { counts { updated } }
}`;
/** The first field has done its work when the second one refuses the unit. */
const ROLL_BACK = `mutation rollBack($opened: OpenPositionsInput!, $changed: UpdatePositionsInput!) {
  openPositions(input: $opened) { counts { created } }
  updatePositions(input: $changed) { counts { updated } }
}`;
const RETRY_MS = 20;
const REQUEST_MS_MAX = 30_000;
/** What a client leaves open: the oldest is closed then. */
const HELD_MAX = 6;

/** What one unit has opened. */
interface Held {
  readonly positions: readonly string[];
  readonly order: string;
}

interface Opened {
  readonly openPositions: { readonly results: readonly { readonly position: { id: string } }[] };
  readonly placeOrders: { readonly results: readonly { readonly order: { id: string } }[] };
}

/** Starts a client for each entry of `accounts`; `address` is asked before each request. */
export function startTraders(accounts: readonly string[], address: () => Address): Traders {
  const opened = new Set<string>();
  const counts = { units: 0, rolledBack: 0, retries: 0, replays: 0 };
  const failures: unknown[] = [];
  let [started, isOver, isAbandoned] = [0, false, false];

  /** Sends a unit until it is answered for good. */
  async function send<Data>(name: string, query: string, variables: object): Promise<Answer<Data>> {
    const headers = { 'idempotency-key': name, 'x-deadline-ms': String(REQUEST_MS_MAX) };
    for (let isFirst = true; !isAbandoned; isFirst = false) {
      if (!isFirst) counts.retries += 1;
      const { url, key } = address();
      const request = createRequest(url, key);
      // Null: the server is not there, or went away with the answer.
      const answer = await request<Data>(query, variables, { headers }).catch(() => null);
      const [error] = answer?.errors ?? [];
      if (answer !== null && error?.extensions.retryable !== true) {
        if (answer.extensions.replayed) counts.replays += 1;
        return answer;
      }
      await delay(Number(error?.extensions.retryAfterMs ?? RETRY_MS));
    }
    throw new Error('it was abandoned');
  }

  async function commit<Data>(
    query: string,
    variables: object,
    name: string,
  ): Promise<Data | null> {
    const { data, errors } = await send<Data>(name, query, variables);
    if (data === null || errors.length > 0) failures.push({ name, errors });
    else counts.units += 1;
    return data;
  }

  async function open(account: string, strategy: string): Promise<Held | null> {
    const data = await commit<Opened>(
      OPEN,
      {
        positions: { account, items: many(UNIT_POSITIONS, () => openItem({ strategy })) },
        orders: { account, items: [orderItem({ strategy })] },
      },
      strategy,
    );
    const order = data?.placeOrders.results[0]?.order.id;
    if (data === null || order === undefined) return null;
    opened.add(strategy);
    return { positions: data.openPositions.results.map(({ position }) => position.id), order };
  }

  async function rollBack(account: string, name: string): Promise<void> {
    const { data, errors } = await send(name, ROLL_BACK, {
      opened: { account, items: [openItem({ strategy: ROLLED_BACK })] },
      changed: { account, items: [{ id: NOBODY(account), stopLossPrice: '9' }] },
    });
    if (data === null && errors[0]?.extensions.code === 'BATCH_REJECTED') counts.rolledBack += 1;
    else failures.push({ name, errors });
  }

  /** Opens something, changes all that is open, and closes the oldest. */
  async function trade(account: string): Promise<void> {
    const held: Held[] = [];
    while (!isOver && failures.length === 0) {
      started += 1;
      const name = `unit-${started}`;
      const next = await open(account, name);
      if (next === null) return;
      held.push(next);
      await rollBack(account, `${name}-rolled-back`);
      const stopLossPrice = `${1 + (started % 80)}.5`;
      const changes = {
        positions: {
          account,
          items: held.flatMap(({ positions }) => positions.map((id) => ({ id, stopLossPrice }))),
        },
        orders: { account, items: held.map(({ order }) => ({ id: order, price: stopLossPrice })) },
      };
      await commit(CHANGE, changes, `${name}-changed`);
      const oldest = held.length > HELD_MAX ? held.shift() : undefined;
      if (oldest === undefined) continue;
      const closes = {
        positions: { account, items: oldest.positions.map((id) => ({ id, price: '110' })) },
        orders: { account, ids: [oldest.order] },
      };
      await commit(CLOSE, closes, `${name}-closed`);
    }
  }

  const clients = Promise.all(accounts.map(trade));
  // Whoever stops them sees why one has ended.
  clients.catch(() => {});
  return {
    opened,
    counts,
    failures,
    async stop() {
      isOver = true;
      await clients;
    },
    abandon() {
      isAbandoned = true;
    },
  };
}

/** The id of a position that is not there. */
const NOBODY = (account: string) => `position.${account}.01900000-0000-7000-8000-000000000000`;
