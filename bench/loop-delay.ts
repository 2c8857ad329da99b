import { monitorEventLoopDelay } from 'node:perf_hooks';

/**
 * Imported by a server before its own code: measures how late its event loop is, and tells the
 * process of the bench when it is asked.
 */
const RESOLUTION_MS = 5;
const NANOSECONDS_PER_MS = 1e6;

const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delay.enable();

process.on('message', (message) => {
  if (message === 'reset') delay.reset();
  if (message === 'read') process.send?.(delay.percentile(99) / NANOSECONDS_PER_MS);
});
// It must not keep a server alive that has nothing else to do.
process.channel?.unref();
