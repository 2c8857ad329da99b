/** Lets at most `placesMax` pieces of work run at once; the others wait in the order they came. */
export interface Gate {
  /** @throws the signal's reason when it is aborted before `work` has begun; what `work` throws */
  run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
}

export function createGate(placesMax: number): Gate {
  const waiting = new Set<() => void>();
  let taken = 0;

  function enter(signal?: AbortSignal): Promise<void> | void {
    signal?.throwIfAborted();
    if (taken < placesMax) {
      taken += 1;
      return;
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiting.delete(next);
        reject(signal?.reason);
      };
      const next = () => {
        waiting.delete(next);
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      waiting.add(next);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  return {
    async run(work, signal) {
      await enter(signal);
      try {
        return await work();
      } finally {
        // A place is handed on, so the count does not change meanwhile.
        const [next] = waiting;
        if (next === undefined) taken -= 1;
        else next();
      }
    },
  };
}
