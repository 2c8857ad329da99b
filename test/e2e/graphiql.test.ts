import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const CHROMIUM = '/usr/bin/chromium';
const ROOT = join(import.meta.dirname, '..', '..');
const CHROMIUM_OPTIONS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const POLL = { interval: 250, timeout: 30_000 };

let home: string;
let server: ChildProcess;
let url: string;
let key: string;
let browser: Browser;

describe.skipIf(!existsSync(CHROMIUM))('GraphiQL in Chromium', () => {
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'tw-graphiql-'));
    server = spawn(join(ROOT, 'node_modules/.bin/node'), ['bin/tradewind.js', 'start'], {
      cwd: ROOT,
      env: { PATH: process.env.PATH, PORT: '0', TRADEWIND_HOME: home, LOG_LEVEL: 'error' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    url = await readUrl(server);
    key = (await readFile(join(home, 'admin-key'), 'utf8')).trim();
    browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_OPTIONS });
  });

  afterAll(async () => {
    await browser?.close();
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGTERM');
    await ended;
    await rm(home, { recursive: true, force: true });
  });

  it('shows a position the moment it is opened, and asks nobody but this server', async () => {
    const page = await browser.newPage();
    const elsewhere: string[] = [];
    page.on('request', (request) => {
      const isOwn = [url, 'data:', 'blob:'].some((start) => request.url().startsWith(start));
      if (!isOwn) elsewhere.push(request.url());
    });
    await page.goto(`${url}/graphql`);
    await page.fill('input[name=key]', key);
    await Promise.all([page.waitForEvent('load'), page.press('input[name=key]', 'Enter')]);
    await page.waitForSelector('.graphiql-execute-button');
    await page.click('.graphiql-tab:has-text("WatchPositions")');
    // Just after a tab was chosen GraphiQL may still run the operation of the one before.
    const response = page.locator('.graphiql-response');
    const run = page.getByRole('button', { name: /^Execute query/ });
    await expect
      .poll(async () => {
        if (await run.isVisible()) await run.click();
        return response.innerText();
      }, POLL)
      .toContain('CAUGHT_UP');
    await openPosition();
    await expect.poll(() => response.innerText(), POLL).toContain('TESTUSDT');
    expect(elsewhere).toEqual([]);
  });
});

async function openPosition(): Promise<void> {
  const item = { exchange: 'bybit', symbol: 'TESTUSDT', side: 'LONG', quantity: '1' };
  const input = { account: 'main', items: [{ ...item, entryPrice: '10' }] };
  const query =
    'mutation ($input: OpenPositionsInput!) { openPositions(input: $input) { counts { created } } }';
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ query, variables: { input } }),
  });
  expect(await response.json()).toMatchObject({
    data: { openPositions: { counts: { created: 1 } } },
  });
}

/** The address that the server prints when it is ready. */
function readUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const [, found] = /ready at (http:\S+)/.exec(text) ?? [];
      if (found !== undefined) resolve(found);
    });
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${text}`)));
  });
}
