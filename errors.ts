/**
 * The closed list of error codes. Codes are API: add, never rename.
 * `isRetryable`: the same request may succeed later without being changed.
 */
export const ERROR_CODES = {
  BAD_INPUT: { isRetryable: false },
  BATCH_REJECTED: { isRetryable: false },
  BATCH_TOO_LARGE: { isRetryable: false },
  CONFLICT: { isRetryable: false },
  DEADLINE_EXCEEDED: { isRetryable: true },
  FORBIDDEN: { isRetryable: false },
  FRAME_TOO_LARGE: { isRetryable: false },
  GRAPHQL_PARSE_FAILED: { isRetryable: false },
  GRAPHQL_VALIDATION_FAILED: { isRetryable: false },
  IDEMPOTENCY_KEY_IN_FLIGHT: { isRetryable: true },
  IDEMPOTENCY_KEY_REUSED: { isRetryable: false },
  INTERNAL_SERVER_ERROR: { isRetryable: false },
  NOT_FOUND: { isRetryable: false },
  OVERLOADED: { isRetryable: true },
  PAYLOAD_TOO_LARGE: { isRetryable: false },
  QUERY_TOO_EXPENSIVE: { isRetryable: false },
  RATE_LIMITED: { isRetryable: true },
  SERIALIZATION_FAILURE: { isRetryable: true },
  SLOW_CONSUMER: { isRetryable: true },
  UNAUTHENTICATED: { isRetryable: false },
  UNAVAILABLE: { isRetryable: true },
} as const satisfies Record<string, { readonly isRetryable: boolean }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Whether the refused or failed operation took effect: a client repeats on UNKNOWN only with its key. */
export type Executed = 'NO' | 'YES' | 'UNKNOWN';

export interface AppErrorOptions {
  readonly executed?: Executed;
  readonly retryAfterMs?: number;
  /** Where in the input the fault is: `['input', 'items', '3', 'quantity']`. */
  readonly path?: readonly string[];
  /** Further public members of the error's extensions. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** An error a client may see. Its message says what was found and what was needed: no secret, no SQL. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly executed: Executed;
  readonly retryAfterMs: number | undefined;
  /** Not named `path`: GraphQL takes an error with a path for one that it has located already. */
  readonly inputPath: readonly string[] | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.executed = options.executed ?? 'NO';
    this.retryAfterMs = options.retryAfterMs;
    this.inputPath = options.path;
    this.details = options.details ?? {};
  }

  get isRetryable(): boolean {
    return ERROR_CODES[this.code].isRetryable;
  }
}

/** A fault of the start-up or a command: shown as one sentence, without a stack. */
export class FatalError extends Error {
  constructor(message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = 'FatalError';
  }
}
