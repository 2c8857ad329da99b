import { vi } from 'vitest';

/** Resolves when `check` passes, however busy the machine is; rejects with its last error. */
export function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(check, { timeout: 30_000, interval: 10 });
}
