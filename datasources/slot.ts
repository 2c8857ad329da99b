import type { Socket } from 'node:net';
import type { Call } from './lane.ts';
import {
  connect,
  connectionLost,
  DatabaseError,
  type OvertimeCode,
  type PostgresTarget,
  type SessionSettings,
  toDatabaseError,
} from './postgres.ts';
import { arrayLiteral } from './postgres-types.ts';
import { nameColumns } from './row-maker.ts';
import type { CompiledStatement, Rows } from './sql.ts';

export type Command =
  | 'begin'
  | 'begin isolation level repeatable read read only'
  | `set transaction snapshot '${string}'`
  | 'commit'
  | 'rollback';

export interface SlotOptions extends SessionSettings {
  readonly target: PostgresTarget;
  readonly applicationName: string;
  /** Of a statement that the server stops, or that runs past the server's own deadline. */
  readonly overtimeCode: OvertimeCode;
  /** How long a session is used; asked once for each. */
  readonly renewAfterMs: () => number;
  /** Told of each notification that its session hears. */
  readonly onNotify?: (text: string) => void;
  /** Told when its session is gone. */
  readonly onLost?: () => void;
}

/**
 * One session of PostgreSQL. It is opened once and never again: what was begun on it cannot go on
 * in another session by mistake.
 */
export interface Connection {
  /** True once the socket failed, the server ended the session or a deadline destroyed it. */
  readonly isLost: boolean;
  /**
   * Several may be sent before the first is answered: they run in the order they were sent.
   *
   * @throws DatabaseError; isConnectionLost when nothing more can be run here
   */
  query(statement: CompiledStatement, call: Call): Promise<Rows<unknown>>;
  /** With nothing else under way. A COMMIT that was sent is waited for beyond the call's deadline. */
  command(text: Command, call: Call): Promise<Rows<unknown>>;
  /** Begins a transaction; its id, as `pg_current_xact_id()` gives it. */
  begin(call: Call): Promise<string>;
  /**
   * With nothing else under way: the last statements and COMMIT, sent together and waited for
   * beyond the call's deadline. When one fails the server makes a rollback of the COMMIT.
   *
   * @throws DatabaseError of the first that failed; executed UNKNOWN when the connection is lost
   */
  queryAndCommit(
    statements: readonly CompiledStatement[],
    call: Call,
  ): Promise<readonly Rows<unknown>[]>;
  destroy(): void;
}

/** A place for one connection, opened when it is needed and replaced when it is lost or old. */
export interface Slot {
  /** @throws DatabaseError UNAVAILABLE when the server cannot be reached, DEADLINE_EXCEEDED */
  open(call: Call): Promise<Connection>;
  /** The open connection, or null. */
  readonly connection: Connection | null;
  /** Ends a session that is older than it may be; to be called while nothing runs. */
  renewWhenOld(): void;
  close(): Promise<void>;
}

/** How long a server may take to accept a session. */
const CONNECT_MS_MAX = 5000;
/** After its own limit a statement has this long to say so. */
const GRACE_MS = 500;
/** A COMMIT that was sent may have taken place: its answer is worth waiting for. */
const COMMIT_MS_MIN = 5000;
/** A rollback after the deadline keeps the session for the next one. */
const ROLLBACK_MS_MIN = 1000;
const END_SECONDS = 1;
/** A call may have no deadline at all. */
const WAIT_MS_MAX = 600_000;

export function createSlot(options: SlotOptions): Slot {
  let current: (Connection & { readonly renewAt: number; end(): Promise<void> }) | null = null;

  return {
    get connection() {
      return current?.isLost === false ? current : null;
    },
    async open(call) {
      if (current !== null && !current.isLost) return current;
      current = null;
      current = await openConnection(options, call);
      return current;
    },
    renewWhenOld() {
      if (current === null || performance.now() < current.renewAt) return;
      void current.end();
      current = null;
    },
    async close() {
      await current?.end();
      current = null;
    },
  };
}

/** Until when a statement is waited for, and what its passing means. */
interface Limit {
  readonly at: number;
  /** The deadline of the call, which says nothing about the database. */
  readonly isOfCall: boolean;
  /** Null: nothing that was asked for ran so long. */
  readonly overtimeCode?: OvertimeCode | null;
  readonly isCommit?: boolean;
}

interface Pending {
  readonly limit: Limit;
  readonly reject: (error: DatabaseError) => void;
}

/** A client with its socket at hand, and a limit on every answer. */
function createWire(options: SlotOptions) {
  const { statementTimeoutMs, overtimeCode } = options;
  let socket: Socket | null = null;
  /** In the order they were sent. */
  let pending: readonly Pending[] = [];
  let isLost = false;
  let timer: NodeJS.Timeout | null = null;
  let timerAt = Number.POSITIVE_INFINITY;

  const client = connect(options.target, options, {
    onSocket(opened) {
      socket = opened;
      if (isLost) opened.destroy();
      // A statement that is sent between a socket's error and its close would never settle.
      opened.once('error', (error) => lose(connectionLost(error)));
      opened.once('close', () => lose(connectionLost(null)));
    },
    onClose: () => lose(connectionLost(null)),
    onNotify: (text) => options.onNotify?.(text),
  });

  function lose(error: DatabaseError): void {
    const waiting = pending;
    pending = [];
    if (!isLost) {
      isLost = true;
      if (timer !== null) clearTimeout(timer);
      timer = null;
      socket?.destroy();
      // It rejects what the library still holds, and refuses what would be sent later.
      client.end({ timeout: 0 }).catch(ignore);
      options.onLost?.();
    }
    for (const { limit, reject } of waiting) reject(limit.isCommit ? asUnknown(error) : error);
  }

  // One timer for many statements: it is set anew only for an earlier limit, or when it goes off.
  function watch(at: number): void {
    if (timer !== null && timerAt <= at) return;
    if (timer !== null) clearTimeout(timer);
    timerAt = at;
    timer = setTimeout(onTimer, Math.max(0, at - performance.now()) + 1);
    timer.unref();
  }

  function onTimer(): void {
    timer = null;
    timerAt = Number.POSITIVE_INFINITY;
    const late = pending.find(({ limit }) => isPast(limit));
    if (late === undefined) for (const { limit } of pending) watch(limit.at);
    else lose(late.limit.isOfCall ? overtime(late.limit) : connectionLost('no answer in time'));
  }

  function run<Result>(query: () => PromiseLike<Result>, limit: Limit) {
    return new Promise<Result>((resolve, reject) => {
      if (isLost) throw connectionLost(null);
      if (isPast(limit)) throw deadlineExceeded();
      const mine: Pending = { limit, reject };
      const answered = () => {
        pending = pending.filter((one) => one !== mine);
      };
      pending = [...pending, mine];
      watch(limit.at);
      // Sent at once: `then` starts it, and every outcome is taken here.
      query().then(
        (rows) => {
          answered();
          resolve(rows);
        },
        (error: unknown) => {
          const failure = toDatabaseError(error, { statementTimeoutMs, overtimeCode });
          if (failure.isConnectionLost) lose(failure);
          answered();
          reject(failure);
        },
      );
    });
  }

  return {
    get isLost() {
      return isLost;
    },
    client,
    run,
    /** What `send` gives to the library goes out as one message, and wakes the server once. */
    together<Result>(send: () => Result): Result {
      const opened = socket;
      opened?.cork();
      // Once the library has been given all of it, in this turn: whatever waits to be done in this
      // process would keep the server waiting, too.
      process.nextTick(() => opened?.uncork());
      return send();
    },
    lose,
  };
}

async function openConnection(options: SlotOptions, call: Call) {
  const { statementTimeoutMs, target, renewAfterMs } = options;
  const prepared = { prepare: target.isPrepareOn, simple: false };
  const limit = limitOf(call, CONNECT_MS_MAX);
  if (isPast(limit)) throw deadlineExceeded();
  const wire = createWire(options);
  const { client, run, lose } = wire;
  await run(() => client.unsafe('select'), limit);
  const renewAt = performance.now() + renewAfterMs();
  const statementMs = statementTimeoutMs + GRACE_MS;

  function send({ text, parameters, isRaw }: CompiledStatement): PromiseLike<Rows<unknown>> {
    const values = parameters.map((value) => (isArray(value) ? arrayLiteral(value) : value));
    // The library's type of parameters leaves out bytes, which it takes.
    const query = client.unsafe(text, values as string[], prepared);
    return isRaw === true ? asRows(query.raw()) : asRows(query.values().then(nameColumns));
  }

  return {
    get isLost() {
      return wire.isLost;
    },
    renewAt,
    query(statement: CompiledStatement, of: Call) {
      return run(() => send(statement), {
        ...limitOf(of, statementMs),
        overtimeCode: of.isServerDeadline === true ? options.overtimeCode : null,
      });
    },
    command: (text: Command, of: Call) =>
      run(() => asRows(client.unsafe(text)), commandLimit(text, of, statementMs)),
    async begin(of: Call) {
      const results = await run(() => client.unsafe(BEGIN), limitOf(of, statementMs));
      return transactionIdOf(results);
    },
    queryAndCommit: (statements: readonly CompiledStatement[], of: Call) =>
      run(
        () => wire.together(() => andCommit(statements.map(send), client.unsafe(COMMIT))),
        commitLimit(of, statementMs),
      ),
    destroy: () => lose(connectionLost('destroyed')),
    async end() {
      await client.end({ timeout: END_SECONDS }).catch(ignore);
      lose(connectionLost('ended'));
    },
  };
}

/** The library keeps what is shorter until the end of the turn, and sends it as a second message. */
const SENT_AT_ONCE_BYTES = 1024;
const COMMIT = 'commit'.padEnd(SENT_AT_ONCE_BYTES);

/** One message: the id costs no way there and back, and is known whatever becomes of the rest. */
const BEGIN = 'begin; select pg_current_xact_id()::text as id';

/** Of the second of two statements; the library's types know of one. */
function transactionIdOf(results: unknown): string {
  const [, rows] = results as readonly (readonly { readonly id: string }[])[];
  const id = rows?.[0]?.id;
  if (id === undefined) throw new Error('a transaction without an id');
  return id;
}

/** The library's result has what our rows have. It is sent when its `then` is called. */
function asRows(query: PromiseLike<unknown>): PromiseLike<Rows<unknown>> {
  return query as PromiseLike<Rows<unknown>>;
}

/** Sends them all, and gives the rows once all are answered: before, nothing else may be sent. */
async function andCommit(
  statements: readonly PromiseLike<Rows<unknown>>[],
  commit: PromiseLike<unknown>,
): Promise<readonly Rows<unknown>[]> {
  const answers = await Promise.all([...statements, asRows(commit)].map(settle));
  const all = answers.map((answer) => {
    // The first: those behind it failed because it did.
    if (answer.error !== null) throw answer.error;
    return answer.value;
  });
  const tag = all.at(-1)?.command;
  if (tag !== 'COMMIT') throw new Error(`COMMIT was answered with ${tag}`);
  return all.slice(0, -1);
}

type Settled =
  | { readonly error: null; readonly value: Rows<unknown> }
  | { readonly error: unknown & {} };

/** In this step, as `Promise.allSettled` would not: one must not be sent without the other. */
function settle(query: PromiseLike<Rows<unknown>>): Promise<Settled> {
  return new Promise((resolve) => {
    query.then(
      (value) => resolve({ error: null, value }),
      (error: unknown) => resolve({ error: error ?? new Error('a query failed without an error') }),
    );
  });
}

function limitOf(call: Call, ms: number): Limit {
  if (call.signal?.aborted === true) return { at: 0, isOfCall: true };
  const at = performance.now() + ms;
  return call.deadlineAt < at ? { at: call.deadlineAt, isOfCall: true } : { at, isOfCall: false };
}

function commandLimit(text: Command, call: Call, statementMs: number): Limit {
  if (text === 'commit') return commitLimit(call, statementMs);
  const limit = limitOf(call, statementMs);
  if (text !== 'rollback') return limit;
  return { ...limit, at: Math.max(limit.at, performance.now() + ROLLBACK_MS_MIN) };
}

function commitLimit(call: Call, statementMs: number): Limit {
  const limit = limitOf(call, statementMs);
  // A transaction that nobody waits for is not committed.
  if (isPast(limit)) return limit;
  const at = performance.now() + Math.max(COMMIT_MS_MIN, statementMs);
  return { at, isOfCall: false, isCommit: true };
}

function isPast(limit: Limit): boolean {
  return limit.at <= performance.now();
}

/** @throws DatabaseError DEADLINE_EXCEEDED when nobody waits for the answer any more */
export function assertInTime(call: Pick<Call, 'deadlineAt' | 'signal'>): void {
  // Not `limitOf(call, 1)`: a process that is put aside for that millisecond would find it past.
  if (call.signal?.aborted === true || call.deadlineAt <= performance.now()) {
    throw deadlineExceeded();
  }
}

/** How long the server may wait for a lock on behalf of a call, in milliseconds. */
export function waitMsOf({ deadlineAt }: Pick<Call, 'deadlineAt'>): number {
  return Math.max(1, Math.min(WAIT_MS_MAX, Math.ceil(deadlineAt - performance.now())));
}

export function deadlineExceeded(): DatabaseError {
  return new DatabaseError('DEADLINE_EXCEEDED', 'The deadline of the request has passed.', {
    retryAfterMs: 100,
  });
}

/** A statement that was running when the deadline passed. */
function overtime({ overtimeCode }: Limit): DatabaseError {
  if (overtimeCode !== 'QUERY_TOO_EXPENSIVE') return deadlineExceeded();
  const message = 'The statement was still running at the deadline: ask for less.';
  return new DatabaseError(overtimeCode, message);
}

function asUnknown(error: DatabaseError): DatabaseError {
  return new DatabaseError(
    'UNAVAILABLE',
    'The connection was lost during COMMIT: whether it took place is not known.',
    { sqlState: error.sqlState, isConnectionLost: true, executed: 'UNKNOWN', cause: error },
  );
}

function isArray(value: unknown): value is readonly (string | number | null)[] {
  return Array.isArray(value);
}

function ignore(): void {
  // The connection is given up: how it ends does not matter.
}
