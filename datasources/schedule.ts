export interface ScheduleOptions {
  readonly everyMs: number;
  readonly work: () => Promise<unknown>;
  readonly onError: (error: unknown) => void;
}

export interface Schedule {
  /** Starts nothing more and resolves when what is under way has ended. */
  close(): Promise<void>;
}

/** Runs `work` every so often, the first time after one interval; never twice at once. */
export function startSchedule({ everyMs, work, onError }: ScheduleOptions): Schedule {
  let running: Promise<void> | null = null;

  function start(): void {
    running ??= work()
      .catch(onError)
      .then(() => {
        running = null;
      });
  }

  const timer = setInterval(start, everyMs);
  // What only waits keeps no process alive.
  timer.unref();
  return {
    async close() {
      clearInterval(timer);
      await running;
    },
  };
}
