import type { Lane } from '../../datasources/lane.ts';
import { createSql } from '../../datasources/sql.ts';

/** A lane whose answers can be held back between the database and who asked. */
export interface HeldLane extends Pick<Lane, 'sql'> {
  /** Statements that were sent. */
  readonly sent: number;
  /** Answers arrive here and go no further until `release`. */
  hold(): void;
  /** Resolves when so many answers are held. */
  held(count: number): Promise<void>;
  release(): void;
  /** Statements fail with this from now on; null: no more. */
  failWith(error: Error | null): void;
}

export function createHeldLane(lane: Pick<Lane, 'sql'>): HeldLane {
  let isHolding = false;
  let failure: Error | null = null;
  let sent = 0;
  let releases: (() => void)[] = [];
  let watchers: (() => void)[] = [];
  return {
    sql: (call) => {
      const sql = lane.sql(call);
      return createSql(async ({ text, parameters }) => {
        sent += 1;
        if (failure !== null) throw failure;
        const strings = Object.assign(text.split(/\$\d+/), { raw: [] });
        // The parameters of a statement that was compiled can be sent again.
        const rows = await sql(strings as unknown as TemplateStringsArray, ...parameters);
        if (isHolding) {
          await new Promise<void>((resolve) => {
            releases.push(resolve);
            for (const watcher of watchers.splice(0)) watcher();
          });
        }
        return rows;
      });
    },
    get sent() {
      return sent;
    },
    hold() {
      isHolding = true;
    },
    async held(count) {
      while (releases.length < count) {
        await new Promise<void>((resolve) => watchers.push(resolve));
      }
    },
    release() {
      isHolding = false;
      for (const release of releases.splice(0)) release();
      releases = [];
      watchers = [];
    },
    failWith(error) {
      failure = error;
    },
  };
}
