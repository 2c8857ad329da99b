import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { fanOutLines } from './fan-out.ts';
import { frameLines } from './frames.ts';
import { idleSubscribersLines } from './idle-subscribers.ts';
import { markPricesLines } from './mark-prices.ts';
import { memoryLine } from './memory.ts';
import { pageLines } from './pages.ts';
import { oneDocumentLines } from './one-document.ts';
import { positionLines } from './positions.ts';
import { accuracyLines } from './prediction-accuracy.ts';
import { pausedReadersLines } from './paused-readers.ts';
import { predictionLines } from './predictions.ts';
import { recordTradesLines } from './record-trades.ts';
import { streamLines } from './stream.ts';
import { formatTable, isMet, type Line } from './table.ts';
import { workerLines } from './workers.ts';
import { startPostgres } from './world.ts';

/**
 * `npm run bench`: each claim of speed beside its limit, measured in the same run.
 * What is compared with what is stated at the head of each file of this folder.
 */

const LINES: Readonly<Record<string, Line>> = {
  predictions: predictionLines,
  positions: positionLines,
  pages: pageLines,
  recordTrades: recordTradesLines,
  oneDocument: oneDocumentLines,
  markPrices: markPricesLines,
  frames: frameLines,
  predictionAccuracy: accuracyLines,
  stream: streamLines,
  fanOut: fanOutLines,
  idleSubscribers: idleSubscribersLines,
  workers: workerLines,
  pausedReaders: pausedReadersLines,
  memory: memoryLine,
};

const USAGE = `node bench/bench.ts [--quick] [--only ${Object.keys(LINES).join('|')}] [--profile folder]

  --quick            small sizes; prints the table and does not fail on a bound
  --only <name>      one of the lines
  --profile <folder> writes a CPU profile of each server into this folder; figures are then lower
`;

const FAILED = 1;
const WRONG_USAGE = 2;

process.exitCode = await main();

async function main(): Promise<number> {
  const options = readOptions();
  if (options === null) {
    process.stderr.write(USAGE);
    return WRONG_USAGE;
  }
  const { names, isQuick, profileFolder } = options;
  if (profileFolder !== null) await mkdir(profileFolder, { recursive: true });
  const postgres = await startPostgres();
  try {
    const results = [];
    for (const name of names) {
      process.stderr.write(`measuring ${name} …\n`);
      const measured = await LINES[name]?.({ postgres, isQuick, profileFolder });
      results.push(...(measured ?? []));
    }
    process.stdout.write(formatTable(results));
    return isQuick || results.every(isMet) ? 0 : FAILED;
  } finally {
    await postgres.stop();
  }
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string' },
        profile: { type: 'string' },
      },
    });
    const names = values.only === undefined ? Object.keys(LINES) : [values.only];
    if (names.some((name) => !Object.hasOwn(LINES, name))) return null;
    const profileFolder = values.profile === undefined ? null : resolve(values.profile);
    return { names, isQuick: values.quick, profileFolder };
  } catch {
    // parseArgs says what it did not know; the usage says what is known.
    return null;
  }
}
