import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pino } from 'pino';
import type postgres from 'postgres';
import type { Role } from '../../access.ts';
import { readConfig } from '../../config.ts';
import { issueApiKey } from '../../datasources/api-key.ts';
import { connect, type PostgresTarget } from '../../datasources/postgres.ts';
import type { StatementRun } from '../../datasources/statistics.ts';
import { startTradewind, type Tradewind } from '../../main.ts';
import { type Chaos, createChaos } from './chaos.ts';
import { createTestDatabase } from './database.ts';
import { eventually } from './eventually.ts';

export interface RequestOptions {
  /** `null`: no Authorization header. Left out: the administrator. */
  readonly key?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  readonly operationName?: string;
  readonly extensions?: Readonly<Record<string, unknown>>;
}

export interface AnswerError {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions: Readonly<Record<string, unknown>> & { readonly code: string };
}

export interface Answer<Data> {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly data: Data | null;
  readonly errors: readonly AnswerError[];
  readonly extensions: {
    readonly commit?: readonly { readonly account: string; readonly seq: string }[];
    readonly replayed?: boolean;
    readonly shortened?: boolean;
    readonly cache?: { readonly hits: number; readonly misses: number };
  };
}

export interface TestServer {
  readonly tradewind: Tradewind;
  readonly url: string;
  /** Of the administrator. */
  readonly key: string;
  /** A session of its own, to look at tables and to put rows into them. */
  readonly sql: postgres.Sql;
  /** What stands between the server and its database; null unless asked for. */
  readonly chaos: Chaos | null;
  request<Data>(query: string, variables?: object, options?: RequestOptions): Promise<Answer<Data>>;
  /** Its data. @throws when there are errors */
  data<Data>(query: string, variables?: object, options?: RequestOptions): Promise<Data>;
  /** The names of the statements of requests since the last call, in the order they ended. */
  statements(): readonly string[];
  /** Further sessions, to hold locks; ended with the server. */
  connect(): postgres.Sql;
  /** A key that the server knows, and its id. */
  issueKey(role: Role, accounts: readonly string[]): Promise<{ token: string; id: string }>;
  /** Resolves when so many sessions of its database wait for a lock. */
  untilBlocked(count: number): Promise<void>;
  /** Row counts of every table and all heads: equal before and after what stores nothing. */
  inventory(): Promise<unknown>;
  stop(): Promise<void>;
}

export interface TestServerOptions {
  /** Variables of the environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Puts a proxy in front of the database that can break connections. */
  readonly withChaos?: boolean;
  /** Parameters of the server's sessions: `-c deadlock_timeout=10ms`. */
  readonly sessionOptions?: string;
}

/** The real server in this process, on a port and a database of its own. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const database = await createTestDatabase();
  const home = await mkdtemp(join(tmpdir(), 'tw-server-'));
  const chaos = options.withChaos === true ? await chaosOf(database.target) : null;
  const sessionOptions = `&options=${encodeURIComponent(options.sessionOptions ?? '')}`;
  const config = readConfig({
    NODE_ENV: 'test',
    PORT: '0',
    DATABASE_URL: `${databaseUrl(database.target, chaos?.socketPath)}${sessionOptions}`,
    TRADEWIND_HOME: home,
    // Tests count statements, and put rows into tables past the log.
    CACHE: 'off',
    ...options.environment,
  });
  const log = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' });
  const tradewind = await startTradewind(config, log);
  const sessions: postgres.Sql[] = [];
  const open = (): postgres.Sql => {
    const session = connect(database.target, { statementTimeoutMs: 0, applicationName: 'test' });
    sessions.push(session);
    return session;
  };
  const key = tradewind.adminKey.token ?? '';
  const request = createRequest(tradewind.url, key);
  const sql = open();
  return {
    tradewind,
    url: tradewind.url,
    key,
    sql,
    chaos,
    request,
    data: async <Data>(...given: Parameters<typeof request>) => {
      const { data, errors } = await request<Data>(...given);
      if (data === null || errors.length > 0) throw new Error(JSON.stringify(errors));
      return data;
    },
    statements: recordStatements(tradewind),
    connect: open,
    issueKey: (role, accounts) => issueKey(sql, request, role, accounts),
    untilBlocked: (count) => untilBlocked(sql, count),
    inventory: () => inventory(sql),
    async stop() {
      await tradewind.stop();
      for (const session of sessions) await session.end({ timeout: 1 });
      await chaos?.close();
      await database.drop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function chaosOf(target: PostgresTarget): Promise<Chaos> {
  const chaos = await createChaos(target.socketPath ?? '');
  // A URL names the folder; the name of the socket in it is PostgreSQL's.
  await symlink(chaos.socketPath, join(dirname(chaos.socketPath), SOCKET_NAME));
  return chaos;
}

const SOCKET_NAME = '.s.PGSQL.5432';

/** The URL of a database that is reached through a Unix socket. */
export function databaseUrl(target: PostgresTarget, socketPath = target.socketPath): string {
  const host = encodeURIComponent(dirname(socketPath ?? ''));
  return `postgres://${target.user}@localhost/${target.database}?host=${host}`;
}

/** Sends GraphQL to the server at `url`, as `ownKey` unless told otherwise. */
export function createRequest(url: string, ownKey: string) {
  return async <Data>(
    query: string,
    variables: object = {},
    options: RequestOptions = {},
  ): Promise<Answer<Data>> => {
    const { key = ownKey, headers, operationName, extensions } = options;
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...headers,
      },
      body: JSON.stringify({ query, variables, operationName, extensions }),
    });
    return readAnswer<Data>(response);
  };
}

export async function readAnswer<Data>(response: Response): Promise<Answer<Data>> {
  const text = await response.text();
  // The shape of an answer; what is in it is for the test to check.
  const body = JSON.parse(text) as Partial<Answer<Data>>;
  return {
    status: response.status,
    headers: response.headers,
    text,
    data: body.data ?? null,
    errors: body.errors ?? [],
    extensions: body.extensions ?? {},
  };
}

function recordStatements({ database: { statistics } }: Tradewind): () => readonly string[] {
  const record = statistics.record;
  const names: string[] = [];
  const hooked = (run: StatementRun) => {
    // What no client asked for is named after itself.
    if (run.lane !== 'feed' && run.call.requestId !== run.call.operationName) names.push(run.name);
    record(run);
  };
  Object.assign(statistics, { record: hooked });
  return () => names.splice(0);
}

async function issueKey(
  sql: postgres.Sql,
  request: ReturnType<typeof createRequest>,
  role: Role,
  accounts: readonly string[],
): Promise<{ token: string; id: string }> {
  const now = new Date().toISOString();
  const { key, token } = issueApiKey({ name: 'test', role, accounts, expiresAt: null }, now);
  await sql`
    insert into api_keys (id, name, role, accounts, secret_hash, created_at)
    values (${key.id}, ${key.name}, ${key.role}, ${`{${accounts.join(',')}}`}::text[],
      decode(${key.secretHash}, 'hex'), ${now})`;
  // A key that is not known makes the server read them again.
  await eventually(async () => {
    const { errors } = await request('{ viewer { actor } }', {}, { key: token });
    if (errors.length > 0) throw new Error('not known yet');
  });
  return { token, id: key.id };
}

/** Resolves when so many sessions of the database of `sql` wait for a lock. */
export async function untilBlocked(sql: postgres.Sql, count: number): Promise<void> {
  const check = async () => {
    const rows = await sql`
      select pid from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    if (rows.length < count) throw new Error(`${rows.length} sessions wait, not ${count}`);
  };
  await eventually(check);
}

const TABLES = ['orders', 'positions', 'trades', 'predictions', 'prediction_horizons', 'candles'];
const LOG_TABLES = ['changes', 'idempotency_keys'];

async function inventory(sql: postgres.Sql): Promise<unknown> {
  const counts: Record<string, unknown> = {};
  for (const table of [...TABLES, ...LOG_TABLES]) {
    const [row] = await sql.unsafe(`select count(*)::int as count from ${table}`);
    counts[table] = row?.count;
  }
  const heads = await sql`select account_id, seq, trading_state from account_heads order by 1`;
  return { counts, heads: [...heads] };
}
