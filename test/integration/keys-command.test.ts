import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startProcess } from '../support/process.ts';
import { databaseUrl } from '../support/server.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.drop());

async function create(...options: readonly string[]) {
  const environment = { DATABASE_URL: databaseUrl(database.target) };
  const { ended, output } = startProcess(environment, 'keys', 'create', 'test', ...options);
  const [code] = await ended;
  return { code, ...output };
}

it.each(['VIEWER', 'ANALYST', 'BOT'])('makes no key for every account for a %s', async (role) => {
  const { code, stdout, stderr } = await create('--role', role);
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).toContain(`a ${role} is not for all of them`);
});

it.each([
  ['--role', 'BOT', '--accounts', 'main'],
  ['--role', 'OPERATOR'],
])('makes a key: %s', async (...options) => {
  const { code, stdout } = await create(...options);
  expect([code, stdout]).toEqual([0, expect.stringMatching(/^tw_\w+\n$/)]);
});
