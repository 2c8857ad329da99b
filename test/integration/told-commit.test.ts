import { afterAll, beforeAll, expect, it } from 'vitest';
import { createUnitsOfWork, type OnCommit } from '../../datasources/unit-of-work.ts';
import { makeCall } from '../support/call.ts';
import { createTestFeed, type TestFeed } from '../support/feed.ts';
import { makeChange } from '../support/log.ts';

let test: TestFeed;

beforeAll(async () => {
  test = await createTestFeed();
});

afterAll(() => test.close());

async function run(onCommit: OnCommit) {
  const errors: unknown[] = [];
  const units = createUnitsOfWork(test.database, onCommit, (error) => errors.push(error));
  const request = { call: makeCall(), actor: 'key:me', operationName: null, idempotency: null };
  const outcome = await units.run(request, async (_datasources, unit) => {
    unit.record(makeChange());
    return { response: null, failure: null, serialize: () => ({ text: '', isShortened: false }) };
  });
  return { outcome, errors };
}

const COMMITTED = { kind: 'committed', commits: [{ account: 'main' }] };

it('answers what it committed though those who are told of it fail', async () => {
  const broken = new Error('broken');
  const thrown = await run(() => {
    throw broken;
  });
  expect(thrown).toMatchObject({ outcome: COMMITTED, errors: [broken] });
  expect(await run(() => Promise.reject(broken))).toMatchObject({
    outcome: COMMITTED,
    errors: [broken],
  });
});

it('answers what it committed though those who are told of it never end', async () => {
  const { outcome, errors } = await run(() => new Promise(() => {}));
  expect(outcome).toMatchObject(COMMITTED);
  expect(errors).toEqual([]);
});
