import type { UsageReport } from './key-usage.ts';
import type { Prepared } from './prepare.ts';

/** What the process that keeps the workers says to one of them. */
export type ToWorker =
  | { readonly kind: 'serve'; readonly port: number; readonly prepared: Prepared }
  | { readonly kind: 'stop' }
  /** What keys use of another worker. */
  | { readonly kind: 'usage'; readonly worker: number; readonly report: UsageReport }
  /** A worker is gone, and nothing of it is used any more. */
  | { readonly kind: 'gone'; readonly worker: number };

/** What a worker says to the process that keeps it. */
export type FromWorker =
  /** Its program is loaded. */
  | { readonly kind: 'loaded' }
  | { readonly kind: 'serving'; readonly url: string }
  | { readonly kind: 'failed'; readonly sentence: string }
  | { readonly kind: 'usage'; readonly report: UsageReport };
