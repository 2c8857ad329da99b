import { createSnapshots, type Snapshots } from '../../datasources/shared-snapshot.ts';
import type { Call, Lane } from '../../datasources/lane.ts';
import { createSql, type Sql } from '../../datasources/sql.ts';
import { makeCall } from './call.ts';

/** Which of the two connections of a snapshot. */
export type Side = 'first' | 'second';

export interface SnapshotWatch {
  /** Awaited before a statement is sent. What it gives is sent instead; undefined: it is sent as it is. */
  onStatement?(side: Side, name: string): Promise<string | undefined> | undefined;
  /** Awaited before the second connection joins. */
  onBeside?(): Promise<unknown>;
  onBesideOver?(): void;
}

/** Snapshots of a lane whose statements pass by `watch`, and which were sent by whom. */
export function watchSnapshots(
  lane: Lane,
  watch: SnapshotWatch = {},
  call: Call = makeCall(),
): Snapshots & { readonly sent: readonly (readonly [Side, string])[] } {
  const sent: [Side, string][] = [];
  const watched = (sql: Sql, side: Side): Sql => {
    let last: Promise<unknown> = Promise.resolve();
    return createSql(async ({ name, text, parameters, isRaw }) => {
      // In the order they were started, as without it.
      const turn = last.then(() => watch.onStatement?.(side, name));
      last = turn.catch(() => undefined);
      const other = await turn;
      sent.push([side, name]);
      const strings = other === undefined ? text.split(/\$\d+/) : [other];
      const values = other === undefined ? parameters : [];
      // The parameters of a statement that was compiled can be sent again.
      const statement = sql(Object.assign(strings, { raw: [] }), ...values);
      return isRaw === true ? statement.raw() : statement;
    });
  };
  const snapshots = createSnapshots(lane, call);
  return {
    sent,
    read: (work) =>
      snapshots.read((snapshot) =>
        work({
          sql: watched(snapshot.sql, 'first'),
          async beside(help) {
            try {
              await watch.onBeside?.();
              await snapshot.beside((sql, isWanted) => help(watched(sql, 'second'), isWanted));
            } finally {
              watch.onBesideOver?.();
            }
          },
        }),
      ),
  };
}

/** Lets the first connection read its chunks only once the second has read one. */
export function secondFirst(more: SnapshotWatch = {}): SnapshotWatch {
  const asked = Promise.withResolvers<void>();
  let fetches = 0;
  return {
    ...more,
    // Whatever became of it, the first is not kept waiting.
    onBesideOver: () => asked.resolve(),
    async onStatement(side, name) {
      const other = await more.onStatement?.(side, name);
      if (side === 'first' && name === 'frames.fetch') await asked.promise;
      if (side === 'second' && name === 'frames.fetch') fetches += 1;
      // A third is asked for when the first has come.
      if (fetches === 3) asked.resolve();
      return other;
    },
  };
}

/** Sends `text` instead of the FETCH of that number, once. */
export function insteadOfFetch(by: Side, number: number, text: string): SnapshotWatch {
  let fetches = 0;
  return {
    async onStatement(side, name) {
      if (side !== by || name !== 'frames.fetch') return undefined;
      fetches += 1;
      return fetches === number ? text : undefined;
    },
  };
}
