// Vitest's report as lines of the results: count-tests.mjs <report.json> <exit code of the run>.
import { readFileSync } from 'node:fs';

const [file, code] = process.argv.slice(2);
const passed = countOf('numPassedTests');
const failed = countOf('numFailedTests');
const skipped = countOf('numPendingTests') + countOf('numTodoTests');

print('pass', passed, 'tests');
print('fail', failed, 'tests');
print('skip', skipped, 'tests');
// A file that does not load, or an error between tests, fails a run without a failed test.
if (failed === 0 && code !== '0') print('fail', 1, `test run (exit code ${code})`);
if (failed === 0 && passed === 0 && code === '0') print('fail', 1, 'test run (no test ran)');

function countOf(name) {
  try {
    const count = JSON.parse(readFileSync(file, 'utf8'))[name];
    return Number.isInteger(count) ? count : 0;
  } catch {
    // No report was written: nothing passed, and that fails the run above.
    return 0;
  }
}

function print(kind, count, name) {
  if (count > 0) process.stdout.write(`${kind}\t${count}\t${name}\n`);
}
