import type { Actor } from './access.ts';
import type { Database } from './datasources/database.ts';
import type { Caches } from './datasources/caches.ts';
import type { Datasources } from './datasources/datasources.ts';
import type { Call } from './datasources/lane.ts';
import type { OperationReads } from './datasources/result-cache.ts';
import type { Unit } from './datasources/unit-of-work.ts';
import type { HealthMonitor } from './datasources/health.ts';
import type { MetricHistory } from './datasources/metric-history.ts';
import type { ChangeFeed } from './subscriptions/change-feed.ts';
import type { Sharing } from './subscriptions/sharing.ts';
import type { Traffic } from './datasources/traffic.ts';

/** What every operation has at hand. One is made per operation, and per attempt of a mutation. */
export interface Context {
  readonly requestId: string;
  readonly operationName: string | null;
  readonly actor: Actor;
  /** Whose statements these are, and until when they may take. */
  readonly call: Call;
  /** Of the read lane in a query, of the transaction in a mutation; restricted to the actor. */
  readonly datasources: Datasources;
  /** Of the analytics lane, with the deadline of frames and aggregates; restricted to the actor. */
  readonly analytics: Datasources;
  readonly budget: Budget;
  /** Where the frames of the answer are kept until the client has them. */
  readonly frames: FrameHold;
  /** What the reads of a query have come to; `forbid` says that its answer must not be kept. */
  readonly reads: OperationReads;
  /** What a client over SSE says to have had last; null: it says nothing, or is none. */
  readonly lastEventId: string | null;
  /** Of a subscription: the cursor of the event that was executed last; null: it has none. */
  readonly lastEvent: { cursor: string | null };
  /** Of a subscription that may be told together with others; null: it is alone. */
  readonly sharing: Sharing | null;
  /** The unit of work of a mutation; null in queries and subscriptions. */
  readonly unit: Unit | null;
  /**
   * How many fields a mutation has at its root: what a later one is likely to need may be read beside
   * what an earlier one waits for. 0 in queries and subscriptions.
   */
  readonly fields: number;
  readonly services: Services;
}

/** What one operation may still make; each event of a subscription may make as much anew. */
export interface Budget {
  begin(): void;
  /**
   * Takes items of a list, and the values in them, into the answer.
   *
   * @throws AppError QUERY_TOO_EXPENSIVE, and whenever it is called from then on
   */
  take(items: number, values: number): void;
  /**
   * Reads rows of a relation, one list after the other; `read` asks for at most `rowsMax`.
   *
   * @throws AppError QUERY_TOO_EXPENSIVE when it found more than there may still be
   */
  takeRows<Row>(read: (rowsMax: number) => Promise<readonly Row[]>): Promise<readonly Row[]>;
  /** @throws AppError DEADLINE_EXCEEDED once its time is over or its client has gone */
  assertInTime(): void;
}

export interface FrameHold {
  /** What one frame may have. */
  readonly bytesMax: number;
  /** @throws AppError OVERLOADED while the answers of all clients together hold too much */
  hold(bytes: number): void;
}

/** What lives as long as the process. */
export interface Services {
  readonly database: Database;
  readonly caches: Caches;
  readonly feed: ChangeFeed;
  readonly health: HealthMonitor;
  readonly metrics: MetricHistory;
  readonly traffic: Traffic;
  readonly heartbeatMs: number;
  /** How long a request may take that does not say so itself, and one for frames or aggregates. */
  readonly deadlineMs: number;
  readonly analyticsDeadlineMs: number;
  /** Whether this actor is still somebody: false once its key is revoked or has expired. */
  isCurrent(actor: Actor): boolean;
}
