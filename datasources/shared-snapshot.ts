import { AppError } from '../errors.ts';
import { type Call, type Lane, mayRead, type Session } from './lane.ts';
import { withRetry } from './resilience.ts';
import type { Sql } from './sql.ts';

/** One state of the database. */
export interface Snapshot {
  /** Statements that read it. */
  readonly sql: Sql;
  /**
   * Runs `work` on a second connection that reads the same, where the lane has one to spare and
   * nothing else to do; else not at all. `isWanted` says whether it still has.
   */
  beside(work: (sql: Sql, isWanted: () => boolean) => Promise<void>): Promise<void>;
}

export interface Snapshots {
  /**
   * Runs `work` over a snapshot of its own, and once more after a lost connection: it only reads.
   *
   * @throws what `work` throws, and as `Lane.sql` does
   */
  read<T>(work: (snapshot: Snapshot) => Promise<T>): Promise<T>;
}

/** Where statements run in a transaction that somebody else began. */
export const NO_SNAPSHOTS: Snapshots = {
  read: () => Promise.reject(new Error('a transaction has no snapshots of its own')),
};

/** Of the connections of a lane. */
export function createSnapshots(lane: Lane, call: Call): Snapshots {
  const readOnce = <T>(work: (snapshot: Snapshot) => Promise<T>): Promise<T> =>
    lane.withSession(call, (session) =>
      inSnapshot(session, () =>
        work({ sql: session.sql, beside: (help) => beside(lane, call, session, help) }),
      ),
    );
  return { read: (work) => withRetry(call, () => readOnce(work), mayRead) };
}

/**
 * Runs `work` in a read-only transaction of the session, whose statements all see the same.
 *
 * @throws what `work` throws
 */
export async function inSnapshot<T>(session: Session, work: () => Promise<T>): Promise<T> {
  await session.command('begin isolation level repeatable read read only');
  try {
    const result = await work();
    await session.command('commit');
    return result;
  } catch (error) {
    // A lost connection has rolled back by itself and takes no further command.
    if (!session.isLost) await session.command('rollback');
    throw error;
  }
}

async function beside(
  lane: Lane,
  call: Call,
  session: Session,
  work: (sql: Sql, isWanted: () => boolean) => Promise<void>,
): Promise<void> {
  await lane.withSpareSession(call, async (other, isWanted) => {
    const exported = exportFrom(session);
    exported.catch(ignore);
    let hasJoined = false;
    try {
      await inSnapshot(other, async () => {
        await other.command(`set transaction snapshot '${await exported}'`);
        hasJoined = true;
        await work(other.sql, isWanted);
      });
    } catch (error) {
      // Until then it would only have helped: the first connection reads everything by itself.
      if (hasJoined || !(error instanceof AppError)) throw error;
    }
  });
}

const SNAPSHOT_ID = /^[\w-]+$/;

async function exportFrom({ sql }: Session): Promise<string> {
  const [row] = await sql<{ id: string }>`
    /* snapshots.export */ select pg_export_snapshot() as id`;
  if (row === undefined || !SNAPSHOT_ID.test(row.id)) throw new Error('no id of a snapshot');
  return row.id;
}

function ignore(): void {
  // Whoever awaits it is told.
}
