import type { Logger } from 'pino';
import type { Call } from './lane.ts';
import type { PostgresTarget } from './postgres.ts';
import { type Connection, createSlot } from './slot.ts';
import { createSql, type Sql } from './sql.ts';
import type { Wakeups } from './wakeups.ts';

export interface NotifyWakeupsOptions {
  readonly target: PostgresTarget;
  readonly log: Logger;
  readonly onCommit: (account: string, seq: string) => void;
}

/** Sessions that this kind of wake-ups takes of the database, for each process. */
export const NOTIFY_CONNECTIONS = 1;

/** That the session still hears is checked so often; asking to listen again changes nothing. */
const CHECK_MS = 1000;
/** A session that answers later than this is given up for another one. */
const ANSWER_MS_MAX = 2000;
const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 5000;
/** Hints that wait to be sent, one an account; beyond it the polls of the others tell. */
const WAITING_MAX = 1000;

/**
 * Tells other nodes through the database itself, over one session that listens and notifies. What
 * is committed while one message is under way goes into the next: NOTIFY takes a lock of the whole
 * server at its commit, so there is never more than one of a node, and none in a unit of work.
 */
export function createNotifyWakeups(options: NotifyWakeupsOptions): Wakeups {
  const { log, onCommit } = options;
  const bell = createBell();
  const waiting = new Map<string, string>();
  let isClosed = false;
  let failures = 0;
  let listening: Connection | null = null;
  let checkAt = 0;

  const slot = createSlot({
    target: options.target,
    applicationName: 'tradewind wakeups',
    statementTimeoutMs: ANSWER_MS_MAX,
    overtimeCode: 'DEADLINE_EXCEEDED',
    // A notification is worth nothing after a crash, so nobody waits for the disk.
    parameters: { synchronous_commit: 'off' },
    renewAfterMs: () => Number.POSITIVE_INFINITY,
    onNotify: (text) => {
      const match = /^([\w-]+) (\d{1,19})$/.exec(text);
      if (match?.[1] !== undefined && match[2] !== undefined) onCommit(match[1], match[2]);
    },
    onLost: bell.ring,
  });

  async function run(): Promise<void> {
    while (!isClosed) {
      try {
        const connection = await listen();
        if (waiting.size > 0) await send(connection);
        else await bell.wait(checkAt - performance.now());
      } catch (error) {
        await failed(error);
      }
    }
  }

  async function listen(): Promise<Connection> {
    const connection = await slot.open(callOf());
    if (connection === listening && performance.now() < checkAt) return connection;
    await sqlOf(connection)`
      /* wakeups.listen */
      listen tradewind_commits`;
    listening = connection;
    checkAt = performance.now() + CHECK_MS;
    if (failures > 0) log.info({ failures }, 'wake-ups of other nodes are heard again');
    failures = 0;
    return connection;
  }

  async function send(connection: Connection): Promise<void> {
    const hints = [...waiting].map(([account, seq]) => `${account} ${seq}`);
    waiting.clear();
    await sqlOf(connection)`
      /* wakeups.notify */
      select pg_notify('tradewind_commits', hint) from unnest(${hints}::text[]) as hint`;
  }

  async function failed(error: unknown): Promise<void> {
    failures += 1;
    if (failures === 1) {
      log.warn({ err: error }, 'wake-ups of other nodes come by the poll only');
    }
    waiting.clear();
    const waitMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures, 10));
    const until = performance.now() + waitMs * (0.5 + Math.random() / 2);
    // Commits ring as well: they do not make it try sooner.
    while (!isClosed && performance.now() < until) await bell.wait(until - performance.now());
  }

  const ended = run();
  return {
    publish(commits) {
      // The others poll meanwhile.
      if (failures > 0 || waiting.size >= WAITING_MAX) return;
      for (const { account, seq } of commits) waiting.set(account, seq);
      bell.ring();
    },
    async close() {
      isClosed = true;
      bell.ring();
      await ended;
      await slot.close();
    },
  };
}

function sqlOf(connection: Connection): Sql {
  return createSql((statement) => connection.query(statement, callOf()));
}

function callOf(): Call {
  const name = 'wakeups';
  return { requestId: name, operationName: name, deadlineAt: performance.now() + ANSWER_MS_MAX };
}

/** One waits, others ring; what was rung while nobody waited ends the next wait at once. */
function createBell() {
  let isRung = false;
  let wake = (): void => {};
  return {
    ring(): void {
      isRung = true;
      wake();
    },
    async wait(ms: number): Promise<void> {
      if (!isRung) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        const timer = setTimeout(resolve, Math.max(0, ms));
        timer.unref();
        await promise;
        clearTimeout(timer);
      }
      isRung = false;
      wake = () => {};
    },
  };
}
