import { createInterface } from 'node:readline';
import { runSession } from './session.ts';
import { botSettingsSchema } from './settings.ts';

/**
 * The process of the demo's bot. Its settings arrive as one line of JSON on stdin, and it lives as
 * long as stdin is open: when the process that started it goes, in whatever way, so does the bot.
 * SIGINT and SIGTERM end it as well. The exit code is then 0, as it is when the candles have ended;
 * 1 after a failure, with one sentence on stderr.
 */
export async function runBot(): Promise<void> {
  const ending = new AbortController();
  const end = () => ending.abort();
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  // Nobody reads any more: the terminal or the pipe is gone.
  process.stdout.on('error', end);
  const input = createInterface({ input: process.stdin });
  try {
    const line = await new Promise<string>((resolve, reject) => {
      input.once('close', () => reject(new Error('no settings on stdin')));
      input.once('line', (text) => {
        input.once('close', end);
        resolve(text);
      });
    });
    const settings = botSettingsSchema.parse(JSON.parse(line));
    await runSession(settings, ending.signal, process.stdout);
  } catch (error) {
    if (!ending.signal.aborted) {
      const reason = error instanceof Error ? error.message : String(error);
      process.stderr.write(`The demo's bot has stopped: ${reason}\n`);
      process.exitCode = 1;
    }
  } finally {
    input.close();
  }
}
