import { restrict } from '../access.ts';
import type { Context } from '../context.ts';
import type { Datasources } from '../datasources/datasources.ts';
import type { Call } from '../datasources/lane.ts';
import type { Cut } from '../datasources/keyset.ts';
import { withSnapshot } from '../datasources/snapshot.ts';
import { AppError } from '../errors.ts';
import type { Snapshot } from './log-stream.ts';

export const SNAPSHOT_ROWS_MAX = 20_000;
const PAGE_ROWS = 1000;

/** Whose rows a snapshot has, and which. */
export interface SnapshotOptions<Row> {
  readonly context: Context;
  readonly accountId: string;
  /** What a client may do when there are too many. */
  readonly advice: string;
  list(datasources: Datasources, cut: Cut): Promise<readonly Row[]>;
  /** What is read beside the rows, at the same moment. */
  complete?(datasources: Datasources, rows: readonly Row[]): Promise<readonly Row[]>;
}

/**
 * Reads the rows that match, in the order of their ids, and the head, at one moment of the database.
 *
 * @throws AppError QUERY_TOO_EXPENSIVE over 20,000 rows; FORBIDDEN
 */
export function snapshotReader<Row extends { readonly id: string }>({
  context: { services, actor },
  accountId,
  advice,
  list,
  complete = async (_datasources, rows) => rows,
}: SnapshotOptions<Row>): (call: Call) => Promise<Snapshot<Row>> {
  return (call) =>
    withSnapshot(services.database, call, async (unrestricted) => {
      const datasources = restrict(unrestricted, actor);
      const head = await datasources.changes.getHead(accountId);
      const rows: Row[] = [];
      for (;;) {
        const after = rows.at(-1)?.id ?? null;
        const cut = { after, before: null, isDescending: false, limit: PAGE_ROWS };
        const page = await list(datasources, cut);
        rows.push(...page);
        if (rows.length > SNAPSHOT_ROWS_MAX) throw tooManyRows(advice);
        if (page.length < PAGE_ROWS || call.signal?.aborted) {
          return { head, rows: await complete(datasources, rows) };
        }
      }
    });
}

function tooManyRows(advice: string): AppError {
  return new AppError(
    'QUERY_TOO_EXPENSIVE',
    `More than ${SNAPSHOT_ROWS_MAX} rows match: ${advice}.`,
    { path: ['where'] },
  );
}
