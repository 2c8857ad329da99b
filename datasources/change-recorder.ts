/** One committed fact to be. Bulk writes are one change with the ids and the count. */
export interface NewChange {
  readonly accountId: string;
  readonly entity: string;
  readonly operation: 'INSERT' | 'UPDATE' | 'DELETE' | 'MARK' | 'DENIED';
  /** Row ids (or keys, where rows have none), without kind and account. */
  readonly ids: readonly string[];
  readonly count?: number;
  readonly before?: object | null;
  readonly after?: object | null;
}

/** A row as it was and as it becomes. */
export interface Update<Row> {
  readonly before: Row;
  readonly next: Row;
}

type Row = { readonly id: string };

/** Records one change for each inserted row. */
export function recordInserts(
  recorder: ChangeRecorder,
  accountId: string,
  entity: string,
  rows: readonly Row[],
): void {
  for (const after of rows) {
    recorder.record({ accountId, entity, operation: 'INSERT', ids: [after.id], after });
  }
}

/** Records one change for each updated row. */
export function recordUpdates(
  recorder: ChangeRecorder,
  accountId: string,
  entity: string,
  updates: readonly Update<Row>[],
): void {
  for (const { before, next } of updates) {
    const ids = [next.id];
    recorder.record({ accountId, entity, operation: 'UPDATE', ids, before, after: next });
  }
}

export type TradingState = 'ACTIVE' | 'REDUCING' | 'HALTED';

/** Collects what a unit of work changes; the unit appends it to the log just before its COMMIT. */
export interface ChangeRecorder {
  record(change: NewChange): void;
  /**
   * The unit may commit only while the account's trading state is still this one.
   *
   * @throws AppError SERIALIZATION_FAILURE when another one was expected before
   */
  expectTradingState(accountId: string, state: TradingState): void;
  /** What the unit itself sets; null: nothing, the table has the state. */
  ownTradingState(accountId: string): TradingState | null;
  /** Sets the trading state with the commit. */
  setTradingState(accountId: string, state: TradingState): void;
  /** The ids as they stand in the log's `actor` and `request_id`, and the unit's own instant. */
  readonly actor: string;
  readonly at: string;
}

function refuse(): never {
  throw new Error('a write outside of a unit of work');
}

/** For repositories on a read lane: a write through them is our own mistake. */
export const NO_RECORDER: ChangeRecorder = {
  record: refuse,
  expectTradingState: refuse,
  setTradingState: refuse,
  ownTradingState: () => null,
  get actor(): string {
    return refuse();
  },
  get at(): string {
    return refuse();
  },
};
