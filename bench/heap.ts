import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Imported by a server before its own code: tells the process of the bench, when it is asked, how
 * much of the heap is in use once all garbage was collected. Until then nothing collects but V8.
 */
process.on('message', (message) => {
  if (message !== 'heap') return;
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  collect();
  process.send?.(process.memoryUsage().heapUsed);
});
