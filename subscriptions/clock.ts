/** Time as the feed and its streams see it; tests move it by hand. */
export interface Clock {
  /** Milliseconds since some moment; never goes back. */
  nowMs(): number;
  /** Calls `ring` once after `delayMs`; what it returns calls that off. */
  setTimer(delayMs: number, ring: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  setTimer(delayMs, ring) {
    const timer = setTimeout(ring, delayMs);
    // A stream that waits does not keep the process alive.
    timer.unref();
    return () => clearTimeout(timer);
  },
};
