import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, vi } from 'vitest';

/** The program in a process of its own, as an operator runs it. */
export interface TestProcess {
  readonly child: ChildProcess;
  /** What it has written so far, to stdout and to stderr. */
  readonly output: { readonly stdout: string; readonly stderr: string };
  /** Code and signal, once it has ended and all it wrote was read. */
  readonly ended: Promise<readonly [code: number | null, signal: string | null]>;
  /** The URL that it prints when it is ready. @throws when it ends before */
  ready(): Promise<string>;
}

const PROGRAM = join(import.meta.dirname, '..', '..', 'bin', 'tradewind.js');
const READY = /ready at (http:\S+)/;
const START_MS_MAX = 60_000;

export function startProcess(
  environment: Readonly<Record<string, string>>,
  ...args: readonly string[]
): TestProcess {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    // Nothing of the tests' own environment configures it.
    env: { PATH: process.env.PATH, NODE_ENV: 'test', PORT: '0', LOG_LEVEL: 'warn', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  // The event's arguments, as Node documents them.
  const ended = once(child, 'close') as Promise<[number | null, string | null]>;
  return {
    child,
    output,
    ended,
    async ready() {
      const isReady = () => expect(output.stdout + output.stderr).toMatch(READY);
      const waiting = vi.waitFor(isReady, { timeout: START_MS_MAX, interval: 20 });
      await Promise.race([
        waiting,
        ended.then(() => {
          throw new Error(`it ended at once: ${output.stderr}`);
        }),
      ]);
      return READY.exec(output.stdout)?.[1] ?? '';
    },
  };
}
