import { AppError } from '../errors.ts';
import { type Breaker, type BreakerFigures, withRetry } from './resilience.ts';
import { createSession } from './session.ts';
import {
  assertInTime,
  type Command,
  createSlot,
  deadlineExceeded,
  type Slot,
  type SlotOptions,
} from './slot.ts';
import { DatabaseError } from './postgres.ts';
import {
  type CompiledStatement,
  createSql,
  type Rows,
  type Sql,
  type SqlStatement,
} from './sql.ts';
import type { StatementStatistics } from './statistics.ts';

export type LaneName = 'trading' | 'interactive' | 'analytics' | 'feed';

/** What a statement is run for: whose it is and until when it may take. */
export interface Call {
  readonly requestId: string;
  readonly operationName: string | null;
  /** `performance.now()` milliseconds after which nobody waits for the answer. */
  readonly deadlineAt: number;
  /** The client named no deadline of its own: a read that runs past this one is too expensive. */
  readonly isServerDeadline?: boolean;
  /** Aborted when nobody waits any more; a statement that is running is not stopped by it. */
  readonly signal?: AbortSignal;
}

export interface LaneFigures {
  readonly name: LaneName;
  readonly size: number;
  readonly busy: number;
  /** Free, whether connected or not. */
  readonly idle: number;
  readonly waiting: number;
  /** Of the last 500 that took a slot; null before the first. */
  readonly acquireMsP95: number | null;
  readonly breaker: BreakerFigures;
}

/** One slot held exclusively, and one connection of it: never a second one. */
export interface Session {
  /**
   * Statements on this connection, in the order they were started.
   *
   * @throws DatabaseError UNAVAILABLE once the connection is lost: nothing runs on another one
   */
  readonly sql: Sql;
  /**
   * The last statements of a transaction, sent together with COMMIT: the rows of each, once it has
   * taken place. When one fails all is rolled back. The deadline cannot stop what was sent.
   *
   * @throws DatabaseError of the first that failed; executed UNKNOWN when the connection is lost
   */
  commit(statements: readonly SqlStatement<unknown>[]): Promise<readonly Rows<unknown>[]>;
  /** Begins a transaction; its id, the text of `pg_current_xact_id()`. */
  begin(): Promise<string>;
  /** Whether there is one that has to be committed or rolled back. */
  readonly isInTransaction: boolean;
  /**
   * The server's command tag. The deadline cannot stop a COMMIT that was sent.
   *
   * @throws DatabaseError with executed UNKNOWN when the connection is lost during COMMIT
   */
  command(text: Command): Promise<string>;
  /** True once a connection loss or client deadline made this slot unusable. */
  readonly isLost: boolean;
}

/** Connections of one kind of work, with a bounded queue in front. */
export interface Lane {
  readonly name: LaneName;
  /**
   * Each statement takes a slot, runs and gives it back. Read statements only: they are run again
   * after a lost connection, within the deadline and the retry budget.
   *
   * @throws DatabaseError; AppError OVERLOADED when the queue is full, UNAVAILABLE while the
   * breaker is open, DEADLINE_EXCEEDED
   */
  sql(call: Call): Sql;
  /**
   * Holds one slot for the whole of `work`; no retries. If work ends with a transaction open, or a
   * statement under way, the slot is destroyed.
   *
   * @throws what `work` throws, and as `sql` does
   */
  withSession<T>(call: Call, work: (session: Session) => Promise<T>): Promise<T>;
  /**
   * As `withSession`, in a slot that is free at once; null where there is none, or where the lane
   * does more than the one thing that asks for it. `isWanted` says until when nobody waits for it.
   */
  withSpareSession<T>(
    call: Call,
    work: (session: Session, isWanted: () => boolean) => Promise<T>,
  ): Promise<T> | null;
  figures(): LaneFigures;
  /** Refuses what waits and what comes, and ends every connection when it is given back. */
  close(): Promise<void>;
}

export interface LaneOptions {
  readonly name: LaneName;
  readonly size: number;
  readonly slot: SlotOptions;
  readonly breaker: Breaker;
  readonly statistics: StatementStatistics;
  readonly waitingMax: number;
}

interface Waiter {
  readonly resolve: (slot: Slot) => void;
  readonly reject: (error: AppError) => void;
}

export function createLane(options: LaneOptions): Lane {
  const { name, size, breaker, statistics } = options;
  const idle: Slot[] = Array.from({ length: size }, () => createSlot(options.slot));
  const waiters = new Set<Waiter>();
  const waits = createWaits();
  let isClosed = false;
  let onAllIdle: (() => void) | null = null;

  function acquire(call: Call): Slot | Promise<Slot> {
    if (isClosed) throw shuttingDown();
    breaker.assertMayRun();
    assertInTime(call);
    const slot = idle.pop();
    if (slot === undefined) return wait(call);
    waits.add(0);
    return slot;
  }

  function wait(call: Call): Promise<Slot> {
    if (waiters.size >= options.waitingMax) throw overloaded(waits.p95());
    const { signal } = call;
    const startedAt = performance.now();
    return new Promise<Slot>((resolve, reject) => {
      const leave = () => settle(() => reject(deadlineExceeded()));
      const timer = setTimeout(leave, Math.min(TIMER_MS_MAX, call.deadlineAt - startedAt));
      timer.unref();
      signal?.addEventListener('abort', leave, { once: true });
      function settle(outcome: () => void): void {
        waiters.delete(waiter);
        clearTimeout(timer);
        signal?.removeEventListener('abort', leave);
        outcome();
      }
      const waiter: Waiter = {
        resolve: (slot) => settle(() => resolve(slot)),
        reject: (error) => settle(() => reject(error)),
      };
      waiters.add(waiter);
    }).then((slot) => {
      waits.add(performance.now() - startedAt);
      return slot;
    });
  }

  function release(slot: Slot): void {
    slot.renewWhenOld();
    // First come, first served; among free slots the one used last, which is connected.
    const [waiter] = waiters;
    if (waiter !== undefined) {
      waiter.resolve(slot);
      return;
    }
    idle.push(slot);
    if (idle.length === size) onAllIdle?.();
  }

  async function measured<Result extends readonly unknown[]>(
    statement: string,
    call: Call,
    work: () => Promise<Result>,
  ): Promise<Result> {
    const startedAt = performance.now();
    let rows = 0;
    let error: string | null = null;
    try {
      const result = await work();
      rows = result.length;
      return result;
    } catch (failure) {
      error = failure instanceof AppError ? failure.code : 'INTERNAL_SERVER_ERROR';
      throw failure;
    } finally {
      const ms = performance.now() - startedAt;
      statistics.record({ name: statement, lane: name, ms, rows, error, call });
    }
  }

  async function runOnce(statement: CompiledStatement, call: Call): Promise<Rows<unknown>> {
    const acquired = acquire(call);
    const slot = acquired instanceof Promise ? await acquired : acquired;
    try {
      return await measured(statement.name, call, () =>
        breaker.run(() => {
          const { connection } = slot;
          if (connection !== null) return connection.query(statement, call);
          return slot.open(call).then((opened) => opened.query(statement, call));
        }),
      );
    } finally {
      release(slot);
    }
  }

  async function hold<T>(
    slot: Slot,
    call: Call,
    work: (session: Session) => Promise<T>,
  ): Promise<T> {
    const session = createSession({ slot, call, breaker, measured });
    try {
      return await work(session.handle);
    } finally {
      session.end();
      release(slot);
    }
  }

  return {
    name,
    sql: (call) =>
      createSql((statement) => withRetry(call, () => runOnce(statement, call), mayRead)),
    withSession: async (call, work) => hold(await acquire(call), call, work),
    withSpareSession(call, work) {
      const isAlone = idle.length === size - 1 && waiters.size === 0 && !isClosed;
      if (!isAlone || breaker.figures().state !== 'CLOSED') return null;
      const slot = idle.pop();
      if (slot === undefined) return null;
      return hold(slot, call, (session) => work(session, () => waiters.size === 0 && !isClosed));
    },
    figures: () => ({
      name,
      size,
      busy: size - idle.length,
      idle: idle.length,
      waiting: waiters.size,
      acquireMsP95: waits.p95(),
      breaker: breaker.figures(),
    }),
    async close() {
      isClosed = true;
      for (const waiter of waiters) waiter.reject(shuttingDown());
      if (idle.length < size) await new Promise<void>((resolve) => (onAllIdle = resolve));
      await Promise.all(idle.map((slot) => slot.close()));
    },
  };
}

/** A read changes nothing: it may be run as often as it takes. */
export function mayRead(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return false;
  return error.isConnectionLost || error.code === 'SERIALIZATION_FAILURE';
}

/** A longer timer goes off at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;
const WAITS = 500;

/** The last waits, in a ring. */
function createWaits() {
  const ring = new Float64Array(WAITS);
  let count = 0;
  return {
    add(ms: number): void {
      ring[count % WAITS] = ms;
      count += 1;
    },
    p95(): number | null {
      if (count === 0) return null;
      const sorted = ring.slice(0, Math.min(count, WAITS)).sort();
      return sorted[Math.ceil(sorted.length * 0.95) - 1] ?? null;
    },
  };
}

const RETRY_AFTER_MS_MIN = 100;

function overloaded(waitMsP95: number | null): AppError {
  return new AppError('OVERLOADED', 'Too many statements wait for the database already.', {
    retryAfterMs: Math.max(RETRY_AFTER_MS_MIN, Math.ceil(waitMsP95 ?? 0)),
  });
}

function shuttingDown(): AppError {
  return new AppError('UNAVAILABLE', 'This server is shutting down.', { retryAfterMs: 1000 });
}
