import type { Call, Session } from './lane.ts';
import { connectionLost } from './postgres.ts';
import type { Breaker } from './resilience.ts';
import type { Connection, Slot } from './slot.ts';
import { createSql, type Rows } from './sql.ts';

export interface SessionOptions {
  readonly slot: Slot;
  readonly call: Call;
  readonly breaker: Breaker;
  readonly measured: (
    name: string,
    call: Call,
    work: () => Promise<Rows<unknown>>,
  ) => Promise<Rows<unknown>>;
}

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
  let last: Promise<unknown> = Promise.resolve();

  async function attach(): Promise<Connection> {
    connection = slot.connection ?? (await slot.open(call));
    return connection;
  }

  function onConnection(work: (connection: Connection) => Promise<Rows<unknown>>) {
    if (isEnded) throw new Error('a statement after the end of its session');
    const attached = connection;
    // The first statement was let through by the breaker: what follows belongs to it.
    if (attached === null) return breaker.run(async () => work(await attach()));
    if (attached.isLost) throw connectionLost('an earlier statement of the session');
    return breaker.runInside(() => work(attached));
  }

  /** After those that were started before, however they ended. */
  function inOrder(
    name: string,
    work: (connection: Connection) => Promise<Rows<unknown>>,
  ): Promise<Rows<unknown>> {
    const start = () => measured(name, call, async () => onConnection(work));
    const rows = running === 0 ? start() : last.then(start);
    running += 1;
    last = rows.then(finish, finish);
    return rows;
  }

  function finish(): void {
    running -= 1;
  }

  return {
    handle: {
      sql: createSql((statement) =>
        inOrder(statement.name, (attached) => attached.query(statement, call)),
      ),
      commitSql: createSql((statement) =>
        inOrder('transaction.commit', async (attached) => {
          try {
            return await measured(statement.name, call, () =>
              attached.queryAndCommit(statement, call),
            );
          } finally {
            // Whatever the outcome was, it ended the transaction.
            isInTransaction = false;
          }
        }),
      ),
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
        const rows = await inOrder(`transaction.${text.split(' ', 1)[0]}`, (attached) =>
          attached.command(text, call),
        );
        isInTransaction = text.startsWith('begin');
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
