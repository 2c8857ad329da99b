import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Authentication, createAuthentication } from '../../authentication.ts';
import { issueApiKey, type StoredApiKey } from '../../datasources/api-key.ts';
import { instantOf } from '../../datasources/instant.ts';
import { eventually } from '../support/eventually.ts';

let authentication: Authentication;
let keys: readonly StoredApiKey[];
let isAway: boolean;
let ended: number;
let reads: number;

beforeEach(() => {
  keys = [];
  isAway = false;
  ended = 0;
  reads = 0;
  const list = async () => {
    reads += 1;
    if (isAway) throw new Error('the database is away');
    return keys;
  };
  authentication = createAuthentication(list, () => {});
  authentication.onEnded(() => {
    ended += 1;
  });
});

afterEach(() => authentication.close());

function issue(expiresAt: string | null = null) {
  const values = { name: 'test', role: 'BOT', accounts: ['main'], expiresAt } as const;
  return issueApiKey(values, instantOf(Date.now()));
}

describe('that somebody is nobody any more', () => {
  it.each<[string, (key: StoredApiKey) => readonly StoredApiKey[]]>([
    ['its key is revoked', (key) => [{ ...key, revokedAt: instantOf(Date.now()) }]],
    ['its key is gone', () => []],
    ['its key is for other accounts', (key) => [{ ...key, accounts: ['other'] }]],
    ['its key has another role', (key) => [{ ...key, role: 'VIEWER' }]],
    ['its key has expired', (key) => [{ ...key, expiresAt: '2020-01-01T00:00:00.000000Z' }]],
  ])('is told once when %s', async (_what, change) => {
    const { key, token } = issue();
    keys = [key, issue().key];
    await authentication.refresh();
    const actor = authentication.authenticate(`Bearer ${token}`);
    await authentication.refresh();
    expect([ended, authentication.isCurrent(actor)]).toEqual([0, true]);
    keys = [...change(key), ...keys.slice(1)];
    await authentication.refresh();
    expect([ended, authentication.isCurrent(actor)]).toEqual([1, false]);
    await authentication.refresh();
    expect(ended).toBe(1);
  });

  it('is told of a key that expires while the keys cannot be read', async () => {
    const { key, token } = issue(instantOf(Date.now() + 50));
    keys = [key];
    await authentication.refresh();
    const actor = authentication.authenticate(`Bearer ${token}`);
    await eventually(() => expect(authentication.isCurrent(actor)).toBe(false));
    isAway = true;
    await expect(authentication.refresh()).rejects.toThrow('away');
    expect(ended).toBe(1);
  });
});

it('reads the keys again once for many words of another node', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { key, token } = issue();
  keys = [key];
  await authentication.refresh();
  const actor = authentication.authenticate(`Bearer ${token}`);
  keys = [];
  for (let word = 0; word < 3; word += 1) authentication.refreshSoon();
  await vi.advanceTimersByTimeAsync(100);
  expect([reads, authentication.isCurrent(actor)]).toEqual([2, false]);
  authentication.refreshSoon();
  await vi.advanceTimersByTimeAsync(100);
  expect(reads).toBe(3);
});

describe('a connection', () => {
  it('is judged by what it sends now, and by the keys there are now', async () => {
    const [one, two] = [issue(), issue()];
    keys = [one.key, two.key];
    await authentication.refresh();
    const connection = {};
    const actorOf = (text: string) =>
      authentication.authenticate(`Bearer ${text}`, connection).name;
    for (const { key, token } of [one, one, two, one]) {
      expect(actorOf(token)).toBe(`key:${key.id}`);
    }
    expect(() =>
      actorOf(`${one.token.slice(0, -1)}${one.token.endsWith('A') ? 'B' : 'A'}`),
    ).toThrow();
    expect(() => actorOf('')).toThrow();
    expect(actorOf(one.token)).toBe(`key:${one.key.id}`);
    keys = [{ ...one.key, revokedAt: instantOf(Date.now()) }, two.key];
    await authentication.refresh();
    expect(() => actorOf(one.token)).toThrow('unknown or was revoked');
    // The same id with another secret is another key.
    keys = [{ ...one.key, secretHash: two.key.secretHash }];
    await authentication.refresh();
    expect(() => actorOf(one.token)).toThrow('unknown or was revoked');
  });
});
