import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { startTestServer, type TestServer } from './server.ts';
import { connectSocket, type Message, type TestSocket } from './socket.ts';
import { makeAccount } from './trading.ts';

/** What every event of a stream has; what else is in it is for the test to check. */
export interface LiveEvent {
  readonly kind: string;
  readonly cursor: string;
  readonly seq: string;
  readonly previousSeq: string | null;
  readonly [field: string]: unknown;
}

export interface LiveStream {
  readonly socket: TestSocket;
  /** The next event that is no heartbeat. @throws with the errors when it ended with some */
  next(): Promise<LiveEvent>;
  take(count: number): Promise<readonly LiveEvent[]>;
  close(): void;
}

/** A subscription of one field, alone on its socket. */
async function openLive(
  server: TestServer,
  query: string,
  variables: object = {},
  key = server.key,
): Promise<LiveStream> {
  const socket = await connectSocket(server, key);
  socket.send({ type: 'subscribe', id: '1', payload: { query, variables } });
  const next = async (): Promise<LiveEvent> => {
    for (;;) {
      const event = eventOf(await socket.next('1'));
      if (event.kind !== 'HEARTBEAT') return event;
    }
  };
  return {
    socket,
    next,
    async take(count) {
      const events: LiveEvent[] = [];
      while (events.length < count) events.push(await next());
      return events;
    },
    close: () => socket.close(),
  };
}

function eventOf({ type, payload }: Message): LiveEvent {
  const result = payload as { readonly data?: Record<string, LiveEvent> | null } | undefined;
  const [event] = Object.values(result?.data ?? {});
  if (type !== 'next' || !event) throw new Error(JSON.stringify({ type, payload }));
  return event;
}

/** What a client checks to know that it missed nothing. */
export function briefOf({ kind, seq, previousSeq }: LiveEvent) {
  return { kind, seq: Number(seq), previousSeq: previousSeq === null ? null : Number(previousSeq) };
}

const EVENT = 'kind cursor seq previousSeq at';
export const POSITIONS = `subscription (
  $account: ID, $where: PositionWhere, $after: String, $snapshot: Boolean, $marks: Boolean
  $minIntervalMs: Int
) {
  positionChanges(
    account: $account, where: $where, after: $after, snapshot: $snapshot, marks: $marks
    minIntervalMs: $minIntervalMs
  ) {
    ${EVENT} operation actor before fromSeq
    position { id symbol side status quantity version markPrice unrealizedPnl }
  } }`;
export const ORDERS = `subscription ($account: ID, $where: OrderWhere, $after: String, $snapshot: Boolean) {
  orderChanges(account: $account, where: $where, after: $after, snapshot: $snapshot) {
    ${EVENT} operation actor before
    order { id symbol status filledQuantity version trades { quantity } position { quantity } }
  } }`;
export const TRADES = `subscription ($account: ID, $where: TradeWhere, $after: String) {
  tradeExecutions(account: $account, where: $where, after: $after) {
    ${EVENT} actor trade { id symbol side quantity order { id status } position { id quantity } }
  } }`;
export const PREDICTIONS = `subscription ($account: ID, $where: PredictionWhere, $after: String) {
  predictionsLogged(account: $account, where: $where, after: $after) {
    ${EVENT} actor predictions { id symbol modelVersion horizons { horizonMinutes } }
  } }`;
export const CHANGES = `subscription ($account: ID, $where: ChangeWhere, $after: String) {
  changes(account: $account, where: $where, after: $after) {
    ${EVENT} change { seq entity operation ids count before after actor hash }
  } }`;

/** For the tests of one file: a server, and for each test an account of its own. */
export function useLive() {
  const opened: LiveStream[] = [];
  let server: TestServer;
  let account: string;

  beforeAll(async () => {
    server = await startTestServer();
  });

  beforeEach(async () => {
    account = await makeAccount(server);
  });

  afterEach(() => {
    for (const stream of opened.splice(0)) stream.close();
  });

  afterAll(() => server.stop());

  async function open(query: string, variables: object = {}, key?: string): Promise<LiveStream> {
    const stream = await openLive(server, query, { account, ...variables }, key);
    opened.push(stream);
    return stream;
  }

  return {
    get server() {
      return server;
    },
    get account() {
      return account;
    },
    open,
    /** A stream that has begun, and where. */
    async begin(query: string, variables: object = {}): Promise<[LiveStream, LiveEvent]> {
      const stream = await open(query, variables);
      const event = await stream.next();
      expect(event.kind).toBe('CAUGHT_UP');
      return [stream, event];
    },
  };
}
