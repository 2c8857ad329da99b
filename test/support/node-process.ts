import { startProcess, type TestProcess } from './process.ts';

/** A node in a process of its own, which keeps its port however often it is killed. */
export interface NodeProcess {
  readonly url: string;
  /** Of the one that runs. */
  readonly process: TestProcess;
  /** How often it has ended without being told to. */
  readonly crashes: readonly string[];
  /** Ends it as a power cut would, and starts it again; resolves when it is ready. */
  killAndRestart(): Promise<void>;
  /** Ends it as an operator would; its code and signal. */
  stop(): Promise<readonly [code: number | null, signal: string | null]>;
}

/** Starts `tradewind start`; resolves when it is ready. */
export async function startNode(
  environment: Readonly<Record<string, string>>,
): Promise<NodeProcess> {
  const crashes: string[] = [];
  const told = new WeakSet<TestProcess>();
  const begin = (port: string): TestProcess => {
    const begun = startProcess({ ...environment, PORT: port }, 'start');
    void begun.ended.then((how) => {
      if (!told.has(begun)) crashes.push(`${how.join(' ')}: ${begun.output.stderr}`);
    });
    return begun;
  };
  let running = begin('0');
  const url = await running.ready();

  async function end(signal: 'SIGKILL' | 'SIGTERM') {
    told.add(running);
    running.child.kill(signal);
    return running.ended;
  }

  return {
    url,
    crashes,
    get process() {
      return running;
    },
    async killAndRestart() {
      await end('SIGKILL');
      running = begin(new URL(url).port);
      await running.ready();
    },
    stop: () => end('SIGTERM'),
  };
}
