import { Command, CommanderError } from 'commander';
import { describe, expect, it, vi } from 'vitest';
import { startOf } from '../../../cli/demo/source.ts';
import { addDemoCommand, type DemoServer } from '../../../cli/demo.ts';

function createProgram(startServer: () => Promise<DemoServer>): Command {
  const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
  addDemoCommand(program, startServer);
  return program;
}

describe('addDemoCommand', () => {
  it.each([
    ['--speed', '0'],
    ['--speed', '1001'],
    ['--speed', 'fast'],
    ['--seed', '-1'],
    ['--seed', '1.5'],
    ['--seed', '4294967296'],
    ['--symbol', 'btc usdt'],
    ['--unknown', '1'],
  ])('refuses %s %s as wrong usage, before a server is started', async (option, value) => {
    const startServer = vi.fn();
    const parsing = createProgram(startServer).parseAsync(['demo', option, value], {
      from: 'user',
    });
    await expect(parsing).rejects.toBeInstanceOf(CommanderError);
    expect(startServer).not.toHaveBeenCalled();
  });

  it('starts no server for candles that cannot be read', async () => {
    const startServer = vi.fn();
    const parsing = createProgram(startServer).parseAsync(['demo', '--candles', 'none.json'], {
      from: 'user',
    });
    await expect(parsing).rejects.toMatchObject({ name: 'FatalError' });
    expect(startServer).not.toHaveBeenCalled();
  });

  it('shows demo in its help, but not the command of the bot', () => {
    const help = createProgram(vi.fn()).helpInformation();
    expect(help).toContain('demo [options]');
    expect(help).not.toContain('demo-bot');
  });
});

describe('startOf', () => {
  const nowMs = Date.UTC(2026, 10, 23, 5, 7);

  it('leaves four hours of demo before its clock meets the real one', () => {
    const liveMs = nowMs - (startOf(nowMs, 1) + 2 * 86_400_000);
    expect(Math.ceil(liveMs / 900_000)).toBe((4 * 3_600) / 2 + 1);
  });

  it('begins at a quarter of an hour and not before 2015', () => {
    expect(startOf(nowMs, 3) % 900_000).toBe(0);
    expect(new Date(startOf(nowMs, 1_000)).toISOString()).toBe('2015-01-02T00:00:00.000Z');
  });
});
