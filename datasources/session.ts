import type { Call, Session } from './lane.ts';
import { connectionLost, DatabaseError } from './postgres.ts';
import type { Breaker } from './resilience.ts';
import type { Connection, Slot } from './slot.ts';
import { createSql, type Rows } from './sql.ts';

export interface SessionOptions {
  readonly slot: Slot;
  readonly call: Call;
  readonly breaker: Breaker;
  readonly measured: <Result extends readonly unknown[]>(
    name: string,
    call: Call,
    work: () => Promise<Result>,
  ) => Promise<Result>;
}

/** The transaction has failed before; this statement did nothing. */
const IN_FAILED_TRANSACTION = '25P02';

const NO_ROWS: Rows<unknown> = Object.assign([], { count: 0, command: 'BEGIN' });

/** A session and the end of it, which leaves the slot clean or destroyed. */
export function createSession({ slot, call, breaker, measured }: SessionOptions): {
  readonly handle: Session;
  end(): void;
} {
  let connection: Connection | null = null;
  let isInTransaction = false;
  let isEnded = false;
  let running = 0;
  /** Of them, those that nothing may overtake or join. */
  let queued = 0;
  let last: Promise<unknown> = Promise.resolve();

  async function attach(): Promise<Connection> {
    connection = slot.connection ?? (await slot.open(call));
    return connection;
  }

  function onConnection<Result>(work: (connection: Connection) => Promise<Result>) {
    if (isEnded) throw new Error('a statement after the end of its session');
    const attached = connection;
    // The first statement was let through by the breaker: what follows belongs to it.
    if (attached === null) return breaker.run(async () => work(await attach()));
    if (attached.isLost) throw connectionLost('an earlier statement of the session');
    return breaker.runInside(() => work(attached));
  }

  function start<Result extends readonly unknown[]>(
    name: string,
    work: (connection: Connection) => Promise<Result>,
  ) {
    return measured(name, call, async () => onConnection(work));
  }

  /**
   * In the order they were started: sent at once while the connection is there, so that several
   * wait for one answer's time. A failure of the transaction is told as what caused it.
   */
  function inOrder(
    name: string,
    work: (connection: Connection) => Promise<Rows<unknown>>,
  ): Promise<Rows<unknown>> {
    if (queued > 0 || (running > 0 && connection === null)) return alone(name, work);
    if (running === 0) return follow(start(name, work));
    const before = last;
    return follow(start(name, (attached) => settleAfter(before, work(attached))));
  }

  /** After those that were started before, however they ended. */
  function alone<Result extends readonly unknown[]>(
    name: string,
    work: (connection: Connection) => Promise<Result>,
  ): Promise<Result> {
    if (running === 0) return follow(start(name, work), true);
    const begin = () => start(name, work);
    return follow(last.then(begin, begin), true);
  }

  function follow<Result>(rows: Promise<Result>, isAlone = false): Promise<Result> {
    running += 1;
    if (isAlone) queued += 1;
    const finish = () => {
      running -= 1;
      if (isAlone) queued -= 1;
    };
    last = rows;
    rows.then(finish, finish);
    return rows;
  }

  return {
    handle: {
      sql: createSql((statement) =>
        inOrder(statement.name, (attached) => attached.query(statement, call)),
      ),
      commit: (statements) =>
        alone('transaction.commit', async (attached) => {
          const compiled = statements.map((statement) => statement.compile());
          const sent = attached.queryAndCommit(compiled, call);
          try {
            return await Promise.all(
              compiled.map(({ name }, place) =>
                measured(name, call, async () => (await sent)[place] ?? NO_ROWS),
              ),
            );
          } finally {
            // Whatever the outcome was, it ended the transaction.
            isInTransaction = false;
          }
        }),
      async begin() {
        isInTransaction = true;
        let id = '';
        await inOrder('transaction.begin', async (attached) => {
          id = await attached.begin(call);
          return NO_ROWS;
        });
        return id;
      },
      get isInTransaction() {
        return isInTransaction;
      },
      async command(text) {
        // Until the answer is read, whatever was sent may have begun a transaction.
        isInTransaction = true;
        const rows = await alone(`transaction.${text.split(' ', 1)[0]}`, (attached) =>
          attached.command(text, call),
        );
        isInTransaction = text !== 'commit' && text !== 'rollback';
        return rows.command;
      },
      get isLost() {
        return connection?.isLost ?? false;
      },
    },
    end() {
      isEnded = true;
      if (isInTransaction || running > 0) connection?.destroy();
    },
  };
}

/** What `rows` comes to, not before `before` has: an aborted transaction is told as what aborted it. */
async function settleAfter<Result>(
  before: Promise<unknown>,
  rows: Promise<Result>,
): Promise<Result> {
  try {
    const result = await rows;
    await before.catch(ignore);
    return result;
  } catch (error) {
    if (isOfAborted(error)) await before;
    throw error;
  }
}

function ignore(): void {
  // It is told to whoever started it.
}

function isOfAborted(error: unknown): boolean {
  return error instanceof DatabaseError && error.sqlState === IN_FAILED_TRANSACTION;
}
