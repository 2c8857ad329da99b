import { execFile } from 'node:child_process';
import { link, readFile, readlink, rm, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { FatalError } from '../errors.ts';
import { codeOf, ignoreMissing } from './embedded-postgres-files.ts';

/** Who holds a data folder, as the lock file says it. */
interface Holder {
  readonly pid: number;
  /** When the process began: a process id alone is used again, in containers at once. */
  readonly began: string;
  /** Machine, boot and container: where `pid` means something. */
  readonly place: string;
  readonly socketFolder: string;
}

export interface FolderLock {
  /** True when the holder before us was killed: its server may still be stopping. */
  readonly wasStale: boolean;
  release(): Promise<void>;
}

const TOUCH_MS = 500;
/** A lock of another container that was not touched for this long is stale. */
const UNTOUCHED_MS_MAX = 3_000;
const ATTEMPTS_MAX = 10;
/** Longer than a kill takes on a busy machine; somebody who starts it twice waits that long. */
const DYING_MS_MAX = 1_000;
const DYING_POLL_MS = 20;

/**
 * Takes the lock file of a data folder; one left by a killed process does not block.
 * What that process left in the temporary folder goes too.
 *
 * @throws FatalError naming the process and the folder when a living process holds it
 */
export async function lockFolder(
  file: string,
  dataFolder: string,
  socketFolder: string,
): Promise<FolderLock> {
  const began = await beginOf(process.pid);
  const place = await placeOfProcesses();
  const ours = JSON.stringify({ pid: process.pid, began, place, socketFolder });
  const draft = `${file}.${process.pid}.${basename(socketFolder)}`;
  await writeFile(draft, ours, { mode: 0o600 });
  try {
    let wasStale = false;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      // A link, unlike a file being written, is there at once with all of its content.
      if (await linkedNew(draft, file)) return createLock(file, ours, wasStale);
      const found = await readFile(file, 'utf8').catch(ignoreMissing);
      if (found === undefined) continue;
      const holder = parseHolder(found);
      if (holder && (await staysAlive(file, holder, place))) {
        throw lockedError(holder.pid, dataFolder);
      }
      wasStale = true;
      await removeStale(file, found);
      if (holder && basename(holder.socketFolder).startsWith('tradewind-')) {
        await rm(holder.socketFolder, { recursive: true, force: true });
      }
    }
    throw new FatalError(`The lock file ${file} keeps changing: is Tradewind started repeatedly?`);
  } finally {
    await unlink(draft);
  }
}

export function lockedError(pid: number, dataFolder: string): FatalError {
  return new FatalError(
    `The data in ${dataFolder} is in use by process ${pid}: stop it or choose another ` +
      'TRADEWIND_HOME.',
  );
}

/** Whether `pid` is a living postmaster of this data folder, and not a later user of the number. */
export async function isPostmaster(pid: number, dataFolder: string): Promise<boolean> {
  // Not by its working folder: root in a container may not look at that of other users.
  const isLinux = process.platform === 'linux';
  const command = isLinux
    ? await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    : `${await processStatus(pid, 'command')} `;
  // The separator tells the folder from one whose name begins the same.
  const folder = `${dataFolder}${isLinux ? '\0' : ' '}`;
  return command.includes('postgres') && command.includes(folder);
}

function createLock(file: string, ours: string, wasStale: boolean): FolderLock {
  // A failed touch needs no answer: either the file is gone with its folder, or the next succeeds.
  const timer = setInterval(() => {
    const now = new Date();
    utimes(file, now, now).catch(() => {});
  }, TOUCH_MS).unref();
  return {
    wasStale,
    async release() {
      clearInterval(timer);
      if ((await readFile(file, 'utf8').catch(ignoreMissing)) === ours) await unlink(file);
    },
  };
}

async function linkedNew(draft: string, file: string): Promise<boolean> {
  try {
    await link(draft, file);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Leaves a lock alone that somebody took since it was found to be stale. */
async function removeStale(file: string, found: string): Promise<void> {
  if ((await readFile(file, 'utf8').catch(ignoreMissing)) !== found) return;
  await unlink(file).catch(ignoreMissing);
}

/** Null for what a full disk or a power cut left of a lock. */
function parseHolder(text: string): Holder | null {
  try {
    const { pid, began = '', place = '', socketFolder = '' }: Partial<Holder> = JSON.parse(text);
    return typeof pid === 'number' ? { pid, began, place, socketFolder } : null;
  } catch {
    return null;
  }
}

async function isAlive(file: string, holder: Holder, place: string): Promise<boolean> {
  if (holder.place === place) return (await beginOf(holder.pid)) === holder.began;
  const seen = (await stat(file)).mtimeMs;
  for (let waitedMs = 0; waitedMs < UNTOUCHED_MS_MAX; waitedMs += TOUCH_MS) {
    await delay(TOUCH_MS);
    const now = await stat(file).catch(ignoreMissing);
    if (now && now.mtimeMs !== seen) return true;
  }
  return false;
}

/** A process that was killed a moment ago is there until the system has taken it down. */
async function staysAlive(file: string, holder: Holder, place: string): Promise<boolean> {
  const endMs = Date.now() + DYING_MS_MAX;
  while (await isAlive(file, holder, place)) {
    if (Date.now() >= endMs) return true;
    await delay(DYING_POLL_MS);
  }
  return false;
}

/** When the process began, as text that only it has; empty when there is no such process. */
async function beginOf(pid: number): Promise<string> {
  if (process.platform !== 'linux') return processStatus(pid, 'lstart');
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The name, second and in brackets, may hold spaces; the begin is the 22nd field.
  const [state, ...fields] = line.slice(line.lastIndexOf(')') + 2).split(' ');
  return state === 'Z' ? '' : (fields[18] ?? '');
}

async function placeOfProcesses(): Promise<string> {
  if (process.platform !== 'linux') return hostname();
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  return `${boot.trim()} ${await readlink('/proc/self/ns/pid')}`;
}

async function processStatus(pid: number, column: string): Promise<string> {
  const answer = promisify(execFile)('ps', ['-o', `${column}=`, '-p', String(pid)]);
  // `ps` fails when there is no such process.
  return answer.then(
    ({ stdout }) => stdout.trim(),
    () => '',
  );
}
