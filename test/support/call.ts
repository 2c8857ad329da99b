import type { Call } from '../../datasources/lane.ts';

/** A call that nothing hurries, changed by `changes`; `deadlineMs` counts from now. */
export function makeCall(changes: Partial<Call> & { readonly deadlineMs?: number } = {}): Call {
  const { deadlineMs = 30_000, ...rest } = changes;
  const deadlineAt = performance.now() + deadlineMs;
  return { requestId: 'test', operationName: null, deadlineAt, ...rest };
}
