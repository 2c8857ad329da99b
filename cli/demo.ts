import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { FatalError } from '../errors.ts';
import { runBot } from './demo/bot.ts';
import { readReplay } from './demo/candles.ts';
import type { BotSettings } from './demo/settings.ts';

/** A running server, as `tradewind start` has it. */
export interface DemoServer {
  readonly url: string;
  /** Null where it is not on this machine. */
  readonly adminKey: string | null;
  stop(): Promise<void>;
  /** Resolves when the server has ended; rejects when it failed. */
  readonly stopped: Promise<void>;
}

export interface DemoOptions {
  /** 1: a 15-minute candle every 2 seconds; 5: five times as many. */
  readonly speed: number;
  readonly seed: number;
  /** A file of real candles; absent: the model's market. */
  readonly candles?: string;
  /** What the replayed candles are called. */
  readonly symbol: string;
}

const BOT_COMMAND = 'demo-bot';
const SPEED_MIN = 0.01;
const SPEED_MAX = 1_000;
const SEED_MAX = 2 ** 32 - 1;
const SYMBOL = /^[A-Z0-9][A-Z0-9._:/-]{0,29}$/;
/** A bot that has not ended by then is killed. */
const END_MS_MAX = 5_000;

/** Adds `demo` to the program: the server of `startServer` and the bot that trades on it. */
export function addDemoCommand(program: Command, startServer: () => Promise<DemoServer>): void {
  program
    .command('demo')
    .description('start the server with a bot that trades a model market on it')
    .addOption(
      new Option('--speed <factor>', `how fast, ${SPEED_MIN} to ${SPEED_MAX}; 1: a candle in 2 s`)
        .default(1)
        .argParser(parseSpeed),
    )
    .addOption(
      new Option('--seed <number>', 'the same seed, the same market')
        .default(1)
        .argParser(parseSeed),
    )
    .option(
      '--candles <file>',
      'replay real candles instead: JSON [[openTimeMs, o, h, l, c, v], …]',
    )
    .addOption(
      new Option('--symbol <symbol>', 'what the replayed candles are called')
        .default('BTCUSDT')
        .argParser(parseSymbol),
    )
    .action((options: DemoOptions) => runDemo(options, startServer));
  program.command(BOT_COMMAND, { hidden: true }).action(runBot);
}

/**
 * Runs server and bot until the server stops. A bot that ends before leaves the server running, so
 * that what it wrote can be looked at; when it failed, the exit code of this process is 1.
 *
 * @throws FatalError the candles cannot be used (no server was started then), or there is no key
 * @throws whatever `startServer` throws, or the reason why the server failed
 */
async function runDemo(
  options: DemoOptions,
  startServer: () => Promise<DemoServer>,
): Promise<void> {
  const { candles: candlesFile = null, seed, speed, symbol } = options;
  if (candlesFile !== null) {
    await readReplay(candlesFile, symbol);
  }
  const { url, adminKey: key, stopped, stop } = await startServer();
  if (key === null) {
    await stop();
    throw new FatalError('The demo needs the admin key, which is not on this machine.');
  }
  const bot = startBot({ url, key, account: 'main', speed, seed, candlesFile, symbol });
  try {
    await stopped;
  } finally {
    if ((await bot.end()) !== 0) {
      process.exitCode = 1;
    }
  }
}

interface Bot {
  /** Ends it, if it has not ended by itself. Its exit code; null when it was killed. */
  end(): Promise<number | null>;
}

/**
 * The bot as a process of its own; it ends when its stdin does. It starts through the program's
 * own file, which knows how to run TypeScript wherever it is installed.
 */
function startBot(settings: BotSettings): Bot {
  const file = fileURLToPath(new URL('../bin/tradewind.js', import.meta.url));
  const bot = spawn(process.execPath, [file, BOT_COMMAND], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve) => {
    bot.once('exit', resolve);
    bot.once('error', (error) => {
      process.stderr.write(`The demo's bot cannot be started: ${error.message}\n`);
      resolve(1);
    });
  });
  // A bot that is gone already has said why itself.
  bot.stdin.on('error', () => undefined);
  bot.stdin.write(`${JSON.stringify(settings)}\n`);
  return {
    async end() {
      bot.stdin.end();
      const overdue = setTimeout(() => bot.kill('SIGKILL'), END_MS_MAX);
      const code = await ended;
      clearTimeout(overdue);
      return code;
    },
  };
}

function parseSpeed(text: string): number {
  const speed = Number(text);
  if (text.trim() === '' || !(speed >= SPEED_MIN && speed <= SPEED_MAX)) {
    throw new InvalidArgumentError(`Needed: a number from ${SPEED_MIN} to ${SPEED_MAX}.`);
  }
  return speed;
}

function parseSeed(text: string): number {
  const seed = Number(text);
  if (!/^\d+$/.test(text) || !(seed <= SEED_MAX)) {
    throw new InvalidArgumentError(`Needed: a whole number from 0 to ${SEED_MAX}.`);
  }
  return seed;
}

function parseSymbol(text: string): string {
  if (!SYMBOL.test(text)) {
    throw new InvalidArgumentError('Needed: capital letters and digits, such as BTCUSDT.');
  }
  return text;
}
