import type { ExecutionResult } from 'graphql';
import type { AppError } from './errors.ts';
import type { Sink } from './subscriptions/sharing.ts';

/** Where the events of one subscription leave this process, whatever the transport. */
export interface Outlet {
  /** For what is told to several at once. */
  readonly sink: Sink;
  /** The events that the transport is to send: its own, and those of the sink where it takes them. */
  around(events: AsyncIterable<ExecutionResult>): AsyncIterable<ExecutionResult>;
  /** Says so to a client that does not keep up, and ends its connection. */
  onSlow(error: AppError): void;
}

/** What a client may have untaken in this process and still be told with others. */
export const TOGETHER_BYTES_MAX = 64 * 1024;
