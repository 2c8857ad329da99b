import type { Sql } from './sql.ts';

export type LaneName = 'trading' | 'interactive' | 'analytics' | 'feed';

/** What a statement is run for: whose it is and until when it may take. */
export interface Call {
  readonly requestId: string;
  readonly operationName: string | null;
  /** `performance.now()` milliseconds after which nobody waits for the answer. */
  readonly deadlineAt: number;
  readonly signal?: AbortSignal;
}
export type { Sql };
