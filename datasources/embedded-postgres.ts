import { type ChildProcess, spawn } from 'node:child_process';
import {
  copyFile,
  type FileHandle,
  mkdir,
  open,
  readFile,
  realpath,
  rm,
  stat,
  truncate,
  unlink,
} from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { FatalError } from '../errors.ts';
import {
  codeOf,
  DATABASE,
  dataArgument,
  findPlatformPackage,
  findServerUser,
  type Installation,
  ignoreMissing,
  installPostgres,
  makeSocketFolder,
  prepareDataFolder,
  SERVER_ENVIRONMENT,
  type ServerUser,
  SOCKET_NAME,
  SUPERUSER,
} from './embedded-postgres-files.ts';
import {
  type FolderLock,
  isPostmaster,
  lockedError,
  lockFolder,
} from './embedded-postgres-lock.ts';

export interface EmbeddedPostgres {
  readonly connection: {
    /** The socket itself, for `net.connect({ path })`; postgres.js takes it as `path`. */
    readonly socketPath: string;
    readonly user: string;
    readonly database: string;
  };
  /** As the server says it: `18.4`. */
  readonly version: string;
  readonly dataFolder: string;
  readonly wasCreated: boolean;
  /** Ends every session and the server; resolves when its process is gone, in bounded time. */
  stop(): Promise<void>;
  /** Resolves when the server ends without `stop`; it does not keep this process running. */
  readonly exited: Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** Absolute; created when missing. Data is in `postgres`, the log in `postgres.log` below it. */
  readonly home: string;
  /** Parameters of PostgreSQL that go before ours. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Recovery after a kill reads up to `max_wal_size`. */
const START_MS_MAX = 300_000;
const READY_POLL_MS = 5;
/** How long backends of a killed server may take to notice and free its memory. */
const ORPHANS_MS_MAX = 15_000;
const FAST_STOP_MS_MAX = 20_000;
const IMMEDIATE_STOP_MS_MAX = 5_000;
const LOG_BYTES_MAX = 8 * 1024 * 1024;
const LOG_CHECK_MS = 60_000;

/**
 * Stops the server when its pipe ends without a word: then our process was killed. It lives in a
 * session of its own, as the server does, so that Ctrl-C reaches neither. The server removes
 * postmaster.pid last, and a new server may write its own; where nobody reaps orphans the process
 * id stays as a zombie.
 */
const WATCHER_SCRIPT = `
if read -r word; then exit 0; fi
kill -INT "$1" 2>/dev/null
n=0
is_there() {
  { read -r pid <postmaster.pid; } 2>/dev/null && [ "$pid" = "$1" ] && kill -0 "$1" 2>/dev/null
}
while is_there "$1" && [ "$n" -lt 200 ]; do sleep 0.1; n=$((n + 1)); done
is_there "$1" && kill -QUIT "$1" 2>/dev/null
rm -rf -- "$2"
`;

/**
 * Starts PostgreSQL on a Unix socket, without a TCP port, over the data of `home`; it creates them
 * at the first start. Committed rows survive a kill of this process, the server or both.
 *
 * @throws FatalError one sentence: no binaries, data in use, other major version, or why it failed
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  try {
    return await start(options);
  } catch (error) {
    // A full disk, a folder of another user: the system's own words name the file.
    const isSystemFault = codeOf(error) !== undefined && error instanceof Error;
    if (!isSystemFault) throw error;
    throw new FatalError(`Embedded PostgreSQL cannot use ${options.home}: ${error.message}.`, {
      cause: error,
    });
  }
}

async function start(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  await mkdir(options.home, { recursive: true });
  const home = await realpath(options.home);
  const dataFolder = join(home, 'postgres');
  const packageFolder = findPlatformPackage();
  const user = await findServerUser(dataFolder);
  const socketFolder = await makeSocketFolder(user);
  let lock: FolderLock | undefined;
  try {
    lock = await lockFolder(join(home, 'postgres.lock'), dataFolder, socketFolder);
    await settleFormerServer(dataFolder, lock.wasStale);
    const installation = await installPostgres(packageFolder, home, user);
    const isDurable = options.settings?.fsync !== 'off';
    const wasCreated = await prepareDataFolder(dataFolder, installation, user, isDurable);
    const server = { home, dataFolder, socketFolder, installation, user };
    const args = await serverArguments(server, options.settings ?? {});
    const running = await launch(server, args);
    return await supervise(server, running, lock, wasCreated);
  } catch (error) {
    await lock?.release();
    await rm(socketFolder, { recursive: true, force: true });
    throw error;
  }
}

interface Server {
  readonly home: string;
  readonly dataFolder: string;
  readonly socketFolder: string;
  readonly installation: Installation;
  readonly user: ServerUser;
}

/**
 * A server whose owner was killed is stopping, or is stopped here; a server that somebody else
 * started by hand is left alone.
 */
async function settleFormerServer(dataFolder: string, isOwnerDead: boolean): Promise<void> {
  const file = join(dataFolder, 'postmaster.pid');
  const text = await readFile(file, 'utf8').catch(ignoreMissing);
  const pid = Number.parseInt(text ?? '', 10);
  if (!(pid > 0)) return;
  if (!(await isPostmaster(pid, dataFolder))) {
    // PostgreSQL would take whatever process has the number now for the former server. Its check
    // of shared memory, which finds surviving backends, does not need this file.
    await unlink(file).catch(ignoreMissing);
    return;
  }
  if (!isOwnerDead) throw lockedError(pid, dataFolder);
  const steps = [
    { signal: 'SIGINT', untilMs: FAST_STOP_MS_MAX },
    { signal: 'SIGQUIT', untilMs: IMMEDIATE_STOP_MS_MAX },
  ] as const;
  for (const { signal, untilMs } of steps) {
    sendSignal(pid, signal);
    const endMs = Date.now() + untilMs;
    while (Date.now() < endMs) {
      if (!(await isPostmaster(pid, dataFolder))) return;
      await delay(READY_POLL_MS);
    }
  }
  throw lockedError(pid, dataFolder);
}

async function serverArguments(
  { dataFolder, socketFolder, installation, user }: Server,
  settings: Readonly<Record<string, string>>,
): Promise<string[]> {
  const values: Record<string, string> = {
    // Shows the folder in the process list, where `-D` may not, and identifies the server.
    'tradewind.data': dataFolder,
    cluster_name: 'tradewind',
    port: '5432',
    listen_addresses: '',
    unix_socket_directories: socketFolder,
    unix_socket_permissions: '0700',
    fsync: 'on',
    synchronous_commit: 'on',
    shared_buffers: '128MB',
    max_connections: '100',
    jit: 'off',
    // A dropped client, as one whose deadline has passed, must not keep its query and locks.
    client_connection_check_interval: '2s',
    // These binaries are built without lz4; pglz costs more than the log it saves on one disk.
    wal_compression: 'off',
    // One helper reads ahead for a laptop's load; three would be idle memory.
    io_workers: '1',
    max_logical_replication_workers: '0',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_checkpoints: 'off',
    log_line_prefix: '%m [%p] %q%a ',
  };
  if (installation.hasStatementStatistics) values.shared_preload_libraries = 'pg_stat_statements';
  const data = await dataArgument(dataFolder, user);
  const pairs = Object.entries({ ...values, ...settings });
  return ['-D', data, ...pairs.flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

interface Running {
  readonly child: ChildProcess;
  /** Resolves when the process is gone and its watcher dismissed. */
  readonly gone: Promise<void>;
}

// Processes that were killed a moment ago and are not gone yet: we hold the lock of the folder, so
// nobody else can be starting a server here.
const LEFT_BY_THE_KILLED = /shared memory block|lock file "postmaster\.pid" already exists/;

/** Resolves when the server takes connections. */
async function launch(server: Server, args: readonly string[]): Promise<Running> {
  const logFile = join(server.home, 'postgres.log');
  const endMs = Date.now() + ORPHANS_MS_MAX;
  while (true) {
    await boundLog(logFile);
    const log = await open(logFile, 'a', 0o600);
    const { size } = await log.stat();
    const running = spawnServer(server, args, log);
    const failure = await untilReady(server, running.child).finally(() => log.close());
    if (failure === null) return running;
    running.child.kill('SIGQUIT');
    await running.gone;
    const lines = (await readFile(logFile)).subarray(size).toString();
    if (LEFT_BY_THE_KILLED.test(lines) && Date.now() < endMs) {
      await delay(READY_POLL_MS * 10);
      continue;
    }
    const reason = /(?:FATAL|PANIC|error while loading).*/.exec(lines)?.[0] ?? failure;
    throw new FatalError(`Embedded PostgreSQL did not start: ${reason} (see ${logFile}).`);
  }
}

/** The watcher starts in the same turn: no moment is left in which a kill leaves an orphan. */
function spawnServer(server: Server, args: readonly string[], log: FileHandle): Running {
  const { dataFolder, socketFolder, installation, user } = server;
  // The working folder is entered before the user changes: its parents may be closed to that.
  const options = { cwd: dataFolder, env: SERVER_ENVIRONMENT, detached: true, ...user };
  const program = join(installation.nativeFolder, 'bin', 'postgres');
  const child = spawn(program, args, { ...options, stdio: ['ignore', log.fd, log.fd] });
  // A failed spawn has an 'error' and no 'exit'.
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  if (child.pid === undefined) return { child, gone };
  const watcherArgs = ['-c', WATCHER_SCRIPT, 'tradewind-watcher', String(child.pid), socketFolder];
  const watcher = spawn('/bin/sh', watcherArgs, {
    ...options,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  // initdb needs the same shell, so it is there; a watcher somebody killed only guards no more.
  watcher.on('error', () => {});
  watcher.stdin.on('error', () => {});
  watcher.unref();
  return { child, gone: gone.then(() => void watcher.stdin.end('done\n')) };
}

/** Null when the server is ready, else why it is not. */
async function untilReady({ dataFolder }: Server, child: ChildProcess): Promise<string | null> {
  let failure: string | undefined;
  child.once('error', (error) => {
    failure = error.message;
  });
  child.once('exit', (code, signal) => {
    failure = `it ended with ${signal ?? `code ${code}`}`;
  });
  const endMs = Date.now() + START_MS_MAX;
  while (Date.now() < endMs) {
    if (failure !== undefined) return failure;
    const text = await readFile(join(dataFolder, 'postmaster.pid'), 'utf8').catch(ignoreMissing);
    const lines = text?.split('\n');
    // The eighth line is what pg_ctl waits for as well.
    if (Number(lines?.[0]) === child.pid && lines?.[7]?.trim() === 'ready') return null;
    await delay(READY_POLL_MS);
  }
  return `it was not ready after ${START_MS_MAX / 1000} s`;
}

async function supervise(
  { home, dataFolder, socketFolder }: Server,
  { child, gone }: Running,
  lock: FolderLock,
  wasCreated: boolean,
): Promise<EmbeddedPostgres> {
  const logTimer = setInterval(() => {
    // A log that cannot be bounded now is tried again; the server matters more.
    boundLog(join(home, 'postgres.log')).catch(() => {});
  }, LOG_CHECK_MS).unref();
  const cleaned = gone.then(async () => {
    clearInterval(logTimer);
    await rm(socketFolder, { recursive: true, force: true });
    await lock.release();
  });
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= shutDown(child, cleaned);
    return stopping;
  };
  const exited = new Promise<void>((resolve) => {
    const settle = () => {
      if (!stopping) resolve();
    };
    // What could not be cleaned is told by `stop`; the server is gone in either case.
    cleaned.then(settle, settle);
  });
  const socketPath = join(socketFolder, SOCKET_NAME);
  const connection = { socketPath, user: SUPERUSER, database: DATABASE };
  try {
    const version = await readVersion(connection);
    child.unref();
    return { connection, version, dataFolder, wasCreated, stop, exited };
  } catch (error) {
    await stop();
    throw new FatalError('Embedded PostgreSQL started but does not answer.', { cause: error });
  }
}

/** Fast first; a server that hangs is ended at once and recovers at its next start. */
async function shutDown(child: ChildProcess, cleaned: Promise<void>): Promise<void> {
  child.ref();
  const immediate = setTimeout(() => child.kill('SIGQUIT'), FAST_STOP_MS_MAX);
  const kill = setTimeout(() => child.kill('SIGKILL'), FAST_STOP_MS_MAX + IMMEDIATE_STOP_MS_MAX);
  child.kill('SIGINT');
  try {
    await cleaned;
  } finally {
    clearTimeout(immediate);
    clearTimeout(kill);
  }
}

/** Asked over the socket: that it answers shows that our process can reach it too. */
async function readVersion(connection: EmbeddedPostgres['connection']): Promise<string> {
  const { socketPath: path, user, database } = connection;
  const sql = postgres({ path, user, database, max: 1, fetch_types: false, connect_timeout: 10 });
  try {
    const [row] = await sql<{ server_version: string }[]>`
      /* embedded.version */
      show server_version`;
    return row?.server_version ?? '';
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** The server keeps the file open, so the log is copied and cut instead of renamed. */
async function boundLog(file: string): Promise<void> {
  const found = await stat(file).catch(ignoreMissing);
  if (!found || found.size <= LOG_BYTES_MAX) return;
  await copyFile(file, `${file}.1`);
  await truncate(file);
}

/** A process that ended meanwhile has what the signal was to bring about. */
function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}
