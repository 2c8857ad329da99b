import { setTimeout as delay } from 'node:timers/promises';
import { type Item, many, openItem, predictionItem } from './make.ts';
import { createRequest } from './server.ts';

/** Clients that send operations until each is acknowledged, whatever happens meanwhile. */
export interface Writers {
  /** The operations with their variables. */
  readonly acknowledged: ReadonlyMap<string, object>;
  /** How often an operation was sent again. */
  readonly retries: number;
  /** Of the acknowledged, those that were answered from their key. */
  readonly replays: number;
  /** What no client may try again: nothing of the kind is expected. */
  readonly failures: readonly unknown[];
  /** Resolves with the next acknowledgement. */
  progress(): Promise<void>;
  /** Lets each client end its operation; resolves when all are acknowledged. */
  stop(): Promise<void>;
  /** Sends all that was acknowledged once more. @throws when one is not answered from its key */
  repeatAll(): Promise<void>;
}

export interface Address {
  readonly url: string;
  readonly key: string;
}

/** Positions, and as many predictions, of an operation: both are stored or neither is. */
export const OPERATION_ITEMS = 5;

const DOCUMENT = `mutation write($open: OpenPositionsInput!, $predict: LogPredictionsInput!) {
  openPositions(input: $open) { counts { created } }
  logPredictions(input: $predict) { counts { created } }
}`;
const RETRY_MS = 20;
const REQUEST_MS_MAX = 30_000;

/** Starts `count` clients; `address` is asked before each request. */
export function startWriters(count: number, address: () => Address): Writers {
  const acknowledged = new Map<string, object>();
  const failures: unknown[] = [];
  let [started, retries, replays, isOver] = [0, 0, 0, false];
  let waiting: (() => void)[] = [];

  /** How long to wait before it is sent again; null when it is acknowledged. */
  async function send(operation: string, variables: object): Promise<number | null> {
    const { url, key } = address();
    const request = createRequest(url, key);
    const headers = { 'idempotency-key': operation, 'x-deadline-ms': String(REQUEST_MS_MAX) };
    const answer = await request(DOCUMENT, variables, { headers }).catch(() => null);
    // The server is not there, or went away with the answer.
    if (answer === null) return RETRY_MS;
    const [error] = answer.errors;
    if (error === undefined) {
      if (answer.extensions.replayed) replays += 1;
      return null;
    }
    if (error.extensions.retryable === true)
      return Number(error.extensions.retryAfterMs ?? RETRY_MS);
    failures.push({ operation, error });
    return null;
  }

  async function write(): Promise<void> {
    while (!isOver && failures.length === 0) {
      started += 1;
      const operation = `operation-${started}`;
      const variables = {
        open: inputOf(() => openItem({ strategy: operation })),
        predict: inputOf(() => predictionItem({ modelVersion: operation })),
      };
      for (let waitMs = await send(operation, variables); waitMs !== null; ) {
        retries += 1;
        await delay(waitMs);
        waitMs = await send(operation, variables);
      }
      acknowledged.set(operation, variables);
      for (const wake of waiting.splice(0)) wake();
    }
  }

  const clients = Promise.all(Array.from({ length: count }, write)).finally(() => {
    for (const wake of waiting) wake();
    waiting = [];
  });
  return {
    acknowledged,
    failures,
    get retries() {
      return retries;
    },
    get replays() {
      return replays;
    },
    progress: () =>
      failures.length > 0
        ? Promise.reject(new Error(JSON.stringify(failures[0])))
        : new Promise((resolve) => waiting.push(resolve)),
    async stop() {
      isOver = true;
      await clients;
    },
    async repeatAll() {
      const before = replays;
      for (const [operation, variables] of acknowledged) await send(operation, variables);
      const repeated = replays - before;
      if (repeated !== acknowledged.size) {
        throw new Error(`${repeated} of ${acknowledged.size} were answered from their key`);
      }
    },
  };
}

function inputOf(item: () => Item) {
  return { account: 'main', items: many(OPERATION_ITEMS, item) };
}
