import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../config.ts';
import { issueApiKey } from '../../datasources/api-key.ts';
import { connect } from '../../datasources/postgres.ts';
import { FatalError } from '../../errors.ts';
import { startTradewind, type Tradewind } from '../../main.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { startProcess } from '../support/process.ts';
import { createRequest, databaseUrl } from '../support/server.ts';

let database: TestDatabase;
let sql: postgres.Sql;
let home: string;
let file: string;

beforeEach(async () => {
  database = await createTestDatabase();
  sql = connect(database.target, { statementTimeoutMs: 0, applicationName: 'test' });
  home = await mkdtemp(join(tmpdir(), 'tw-key-'));
  file = join(home, 'admin-key');
});

afterEach(async () => {
  await sql.end({ timeout: 1 });
  await database.drop();
  await rm(home, { recursive: true, force: true });
});

const environment = () => ({
  NODE_ENV: 'test',
  PORT: '0',
  DATABASE_URL: databaseUrl(database.target),
  TRADEWIND_HOME: home,
});

/** Starts on the database, looks, and ends. */
async function start<T>(look: (tradewind: Tradewind) => Promise<T> | T): Promise<T> {
  const tradewind = await startTradewind(readConfig(environment()), pino({ level: 'silent' }));
  try {
    return await look(tradewind);
  } finally {
    await tradewind.stop();
  }
}

/** What is in the file, which must be a key of the server. */
async function assertWorks({ url }: { readonly url: string }): Promise<string> {
  const token = (await readFile(file, 'utf8')).trim();
  const { data, errors } = await createRequest(url, token)('{ viewer { role } }');
  expect([data, errors]).toEqual([{ viewer: { role: 'ADMIN' } }, []]);
  expect(await readdir(home)).toEqual(['admin-key']);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  return token;
}

const countKeys = async () => (await sql`select id from api_keys`).length;

function makeToken(): string {
  const values = { name: 'other', role: 'ADMIN', accounts: [], expiresAt: null } as const;
  return issueApiKey(values, new Date().toISOString()).token;
}

it('is made once, in a file of its own', async () => {
  const token = await start(assertWorks);
  await start(async (tradewind) => {
    expect(tradewind.adminKey).toEqual({ file, token, isNew: false });
    expect(await assertWorks(tradewind)).toBe(token);
  });
  expect(await countKeys()).toBe(1);
});

it.each(['the key of another database', ''])(
  'does not take the place of a file that is there: %j',
  async (text) => {
    await writeFile(file, text);
    const starting = start(() => {});
    await expect(starting).rejects.toThrow(FatalError);
    await expect(starting).rejects.toThrow(
      `${file} is there, but this database has no key: the file is of another database. Move it ` +
        'away, or set TRADEWIND_HOME to another folder, and start again.',
    );
    expect(await readFile(file, 'utf8')).toBe(text);
    expect([await countKeys(), await readdir(home)]).toEqual([0, ['admin-key']]);
    await rename(file, `${home}-kept`);
    await start(assertWorks);
    await rm(`${home}-kept`);
  },
);

it('does not begin where its file cannot be written', async () => {
  await mkdir(`${file}.new`);
  await expect(start(() => {})).rejects.toThrow(`The first key cannot be kept in ${file}: `);
  expect(await countKeys()).toBe(0);
});

describe('after a start that was killed', () => {
  it('before its COMMIT is what that start had made', async () => {
    const token = makeToken();
    await writeFile(`${file}.new`, `${token}\n`, { mode: 0o600 });
    expect(await start(assertWorks)).toBe(token);
    expect(await countKeys()).toBe(1);
  });

  it('while it wrote is made anew', async () => {
    await writeFile(`${file}.new`, makeToken().slice(0, 20));
    await start(assertWorks);
  });

  it('after its COMMIT gets its place', async () => {
    const token = await start(assertWorks);
    await rename(file, `${file}.new`);
    await start(async (tradewind) => {
      expect(tradewind.adminKey.isNew).toBe(false);
      expect(await assertWorks(tradewind)).toBe(token);
    });
  });

  it('of another database stays what it is', async () => {
    await start(assertWorks);
    await rm(file);
    const token = makeToken();
    await writeFile(`${file}.new`, token);
    await start(({ adminKey }) => {
      expect(adminKey.token).toBeNull();
    });
    expect(await readdir(home)).toEqual(['admin-key.new']);
    expect(await readFile(`${file}.new`, 'utf8')).toBe(token);
    expect(await countKeys()).toBe(1);
  });

  it('with SIGKILL, between its file and its COMMIT, is the only key', async () => {
    await sql`begin`;
    await sql`select seq from account_heads where account_id = '_system' for update`;
    const killed = startProcess(environment(), 'start');
    await eventually(async () => {
      expect(await readdir(home)).toEqual(['admin-key.new']);
      const waiting = await sql`
        select pid from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      expect(waiting).toHaveLength(1);
    });
    killed.child.kill('SIGKILL');
    await killed.ended;
    await sql`rollback`;
    await eventually(async () => {
      const left = await sql`
        select pid from pg_stat_activity
        where datname = current_database() and application_name like 'tradewind%'`;
      expect(left).toHaveLength(0);
    });
    // Whether a COMMIT that was sent takes place is the database's affair.
    await start(assertWorks);
    expect(await countKeys()).toBe(1);
  });
});
