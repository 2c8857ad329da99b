import postgres from 'postgres';
import { AppError, type AppErrorOptions, type ErrorCode } from '../errors.ts';
import { openSocket, readTarget, type TrackSocket } from './postgres-target.ts';
import { TYPES, toCamel } from './postgres-types.ts';

/** What to connect to: a URL, or a Unix socket with a user and a database. */
export interface PostgresTarget {
  readonly url?: string;
  /** The socket file itself: `/tmp/tw/.s.PGSQL.5432`. */
  readonly socketPath?: string;
  readonly user?: string;
  readonly database?: string;
  /** Off behind a pooler that gives each transaction another session. */
  readonly isPrepareOn: boolean;
  readonly isTlsOn: boolean;
}

export interface DatabaseErrorOptions extends AppErrorOptions {
  readonly sqlState?: string | null;
  readonly constraint?: string | null;
  readonly isConnectionLost?: boolean;
}

/**
 * A failure of the database. Its message is ours: the driver's holds values of rows and stays in
 * `cause`, for the log alone.
 */
export class DatabaseError extends AppError {
  readonly sqlState: string | null;
  readonly constraint: string | null;
  /** The session is gone, and with it a transaction that was open in it. */
  readonly isConnectionLost: boolean;

  constructor(code: ErrorCode, message: string, options: DatabaseErrorOptions = {}) {
    super(code, message, options);
    this.name = 'DatabaseError';
    this.sqlState = options.sqlState ?? null;
    this.constraint = options.constraint ?? null;
    this.isConnectionLost = options.isConnectionLost ?? false;
  }
}

/** What a session is opened for: shown by pg_stat_activity, and limited by the server itself. */
export interface SessionSettings {
  readonly applicationName?: string;
  /** 0: no limit. */
  readonly statementTimeoutMs: number;
  /** Of the server, by their names. */
  readonly parameters?: Readonly<Record<string, string>>;
}

export interface ClientHooks {
  /** Gets each socket before it is connected, to destroy it when the client must not wait. */
  readonly onSocket?: TrackSocket;
  readonly onClose?: () => void;
  /** Gets the text of each notification of a channel that the session listens to. */
  readonly onNotify?: (text: string) => void;
}

/**
 * A client of one connection, opened by its first statement. Columns arrive in camelCase; numeric,
 * int8, dates and instants as strings; json parsed. Only slots and migrations use it directly.
 *
 * @throws FatalError when the URL cannot be used, or asks for TLS that is not verified
 */
export function connect(
  target: PostgresTarget,
  settings: SessionSettings,
  hooks: ClientHooks = {},
): postgres.Sql {
  const { endpoint, user, password, database, parameters } = readTarget(target);
  let isConnected = false;
  const options = {
    // Each option is given: what is missing, the library would take from the environment.
    path: endpoint.path ?? '',
    host: endpoint.host,
    port: endpoint.port,
    user,
    // A function is not shown when the client is inspected.
    pass: () => password,
    database,
    max: 1,
    prepare: target.isPrepareOn,
    // An uncaught rejection ends the process when the connection is lost while it runs.
    fetch_types: false,
    types: TYPES,
    transform: { column: { from: toCamel } },
    connection: { ...sessionParameters(target, settings), ...parameters },
    // TLS is made by the socket factory: the library would verify another name.
    ssl: false,
    socket: () => {
      // Once: the library connects again by itself, and would run half of a transaction.
      if (isConnected) throw new Error('the connection was closed while it was opened');
      isConnected = true;
      return openSocket(endpoint, hooks.onSocket);
    },
    onclose: () => hooks.onClose?.(),
    onnotify: (_channel: string, text: string) => hooks.onNotify?.(text),
    onnotice: () => undefined,
    connect_timeout: 0,
    idle_timeout: 0,
    max_lifetime: 0,
    keep_alive: 0,
    backoff: false,
    // A transaction sends at once what does not wait for an answer; a slot is of one at a time.
    max_pipeline: 8,
    debug: false,
  };
  // The library's types do not know `socket` and `pass`.
  return postgres(options as unknown as postgres.Options<Record<string, postgres.PostgresType>>);
}

/** A backend keeps an open transaction of a silent client as long as a statement, at least this. */
const IDLE_IN_TRANSACTION_MS_MIN = 10_000;

function sessionParameters(
  target: PostgresTarget,
  settings: SessionSettings,
): Record<string, string> {
  const parameters: Record<string, string> = {
    application_name: settings.applicationName ?? 'tradewind',
    TimeZone: 'UTC',
    DateStyle: 'ISO',
  };
  // Poolers that share sessions refuse the others; there, they are set on the role.
  if (!target.isPrepareOn) return parameters;
  const { statementTimeoutMs } = settings;
  const idleMs =
    statementTimeoutMs === 0 ? 0 : Math.max(IDLE_IN_TRANSACTION_MS_MIN, statementTimeoutMs);
  return {
    ...parameters,
    ...settings.parameters,
    IntervalStyle: 'iso_8601',
    statement_timeout: `${statementTimeoutMs}ms`,
    idle_in_transaction_session_timeout: `${idleMs}ms`,
    // A destroyed socket stops the statement that nobody waits for any more.
    ...(isCheckIntervalKnown(target) ? { client_connection_check_interval: '1s' } : {}),
  };
}

/** A server on Windows cannot watch its socket, and refuses the session when asked to. */
function isCheckIntervalKnown(target: PostgresTarget): boolean {
  return process.platform !== 'win32' || target.url !== undefined;
}

const FAILURES: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  23505: ['CONFLICT', 'Something with the same unique value exists already.'],
  '23P01': ['CONFLICT', 'Something that excludes this exists already.'],
  23503: ['BAD_INPUT', 'This refers to something that does not exist.'],
  23514: ['BAD_INPUT', 'A value breaks a rule of the database.'],
  40001: ['SERIALIZATION_FAILURE', 'Other writes came between: the operation may be run again.'],
  '40P01': ['SERIALIZATION_FAILURE', 'Other writes came between: the operation may be run again.'],
  '55P03': ['SERIALIZATION_FAILURE', 'Other writes held a lock: the operation may be run again.'],
  26000: ['SERIALIZATION_FAILURE', 'The session changed: the operation may be run again.'],
  // A last statement whose preparation was gone, sent again by the driver when all had failed.
  TW003: ['SERIALIZATION_FAILURE', 'The session changed: the operation may be run again.'],
  53100: ['UNAVAILABLE', 'The database has no room left.'],
  53200: ['UNAVAILABLE', 'The database has no memory left.'],
};

/** What to say about a statement that fails. */
export interface FailureContext {
  readonly statementTimeoutMs: number;
  readonly overtimeCode: OvertimeCode;
}

/** What a statement that takes too long means to whoever asked for it. */
export type OvertimeCode = 'DEADLINE_EXCEEDED' | 'QUERY_TOO_EXPENSIVE';

/** Any failure of the driver as the one error the rest of the project knows. */
export function toDatabaseError(error: unknown, context: FailureContext): DatabaseError {
  if (error instanceof DatabaseError) return error;
  // Codes of five characters are the server's; the library's own errors have words.
  if (!(error instanceof postgres.PostgresError) || error.code?.length !== 5) {
    return connectionLost(error);
  }
  const sqlState = error.code;
  if (isSessionOver(error)) return connectionLost(error, sqlState);
  const details = { sqlState, constraint: error.constraint_name ?? null, cause: error };
  if (sqlState === '57014') {
    const message = `The statement took longer than ${context.statementTimeoutMs / 1000} s.`;
    return new DatabaseError(context.overtimeCode, message, details);
  }
  // Every table of an account refers to it under this name: the one a client can get wrong.
  if (sqlState === '23503' && details.constraint?.endsWith('_account_id_fkey')) {
    const path = ['account'];
    return new DatabaseError('NOT_FOUND', 'There is no such account.', { ...details, path });
  }
  const known = FAILURES[sqlState];
  if (known !== undefined) return new DatabaseError(...known, details);
  // A migration changed a table under a prepared statement, inside a transaction.
  if (error.routine === 'RevalidateCachedQuery') {
    return new DatabaseError('SERIALIZATION_FAILURE', 'The schema changed meanwhile.', details);
  }
  if (sqlState.startsWith('22')) {
    return new DatabaseError('BAD_INPUT', 'A value is malformed or out of range.', details);
  }
  return new DatabaseError('INTERNAL_SERVER_ERROR', 'The database refused a statement.', details);
}

/** The error of a session that is gone, or of one that could not be opened. */
export function connectionLost(cause: unknown, sqlState: string | null = null): DatabaseError {
  return new DatabaseError('UNAVAILABLE', 'The connection to the database was lost.', {
    sqlState,
    isConnectionLost: true,
    retryAfterMs: 100,
    cause,
  });
}

// FATAL ends a session whatever its code: a wrong password, a missing database, an idle transaction.
function isSessionOver(error: postgres.PostgresError): boolean {
  return (
    error.severity === 'FATAL' ||
    error.severity === 'PANIC' ||
    error.code.startsWith('08') ||
    error.code.startsWith('57P0') ||
    error.code === '53300'
  );
}
