import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createNotifyWakeups } from '../../../datasources/notify-wakeups.ts';
import type { PostgresTarget } from '../../../datasources/postgres.ts';
import type { Wakeups } from '../../../datasources/wakeups.ts';
import { makeCall } from '../../support/call.ts';
import { createChaos } from '../../support/chaos.ts';
import { eventually } from '../../support/eventually.ts';
import { createTestFeed, type TestFeed } from '../../support/feed.ts';
import { addAccount, append, makeChange } from '../../support/log.ts';

const log = pino({ level: 'silent' });
const READER = { requestId: 'test', operationName: null, signal: new AbortController().signal };
const HOUR_MS = 3_600_000;

let test: TestFeed;

beforeAll(async () => {
  test = await createTestFeed();
});

afterAll(() => test.close());

/** Another node; what it hears. */
function open(
  target: PostgresTarget = test.target,
  onCommit: (account: string, seq: string) => void = () => {},
) {
  const heard: string[] = [];
  const wakeups = createNotifyWakeups({
    target,
    log,
    onCommit(account, seq) {
      heard.push(`${account} ${seq}`);
      onCommit(account, seq);
    },
  });
  onTestFinished(() => wakeups.close());
  return { wakeups, heard };
}

/** Publishes until it is heard: a hint may be lost, and connections come up when they do. */
async function untilHeard(from: Wakeups, heard: readonly string[], account: string): Promise<void> {
  await eventually(() => {
    from.publish([{ account, seq: '7' }]);
    expect(heard).toContain(`${account} 7`);
  });
}

/** Ends the sessions that listen; how many there were. */
async function killListeners(): Promise<number> {
  const killed = await test.database.interactive.sql(makeCall())`
    /* test.killListeners */
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'tradewind wakeups'`;
  return killed.length;
}

describe('wake-ups through the database', () => {
  it('tell other nodes of a commit', async () => {
    const here = open();
    const there = open();
    await untilHeard(here.wakeups, there.heard, 'main');
    await untilHeard(there.wakeups, here.heard, 'other');
  });

  it('say the newest of an account where several wait', async () => {
    const here = open();
    const there = open();
    await untilHeard(here.wakeups, there.heard, 'ready');
    for (const seq of ['1', '2', '3']) here.wakeups.publish([{ account: 'many', seq }]);
    await eventually(() => expect(there.heard).toContain('many 3'));
    expect(there.heard.filter((hint) => hint.startsWith('many'))).toEqual(['many 3']);
  });

  it('go on after their sessions were killed', async () => {
    const here = open();
    const there = open();
    for (let round = 0; round < 5; round += 1) {
      await untilHeard(here.wakeups, there.heard, `round-${round}`);
      expect(await killListeners()).toBeGreaterThanOrEqual(1);
      expect(() => here.wakeups.publish([{ account: 'lost', seq: '1' }])).not.toThrow();
    }
    await untilHeard(here.wakeups, there.heard, 'back');
  });

  it('go on after the server was away, and after it was silent', async () => {
    const chaos = await createChaos(test.target.socketPath ?? '');
    onTestFinished(() => chaos.close());
    const there = open({ ...test.target, socketPath: chaos.socketPath });
    const here = open();
    await untilHeard(here.wakeups, there.heard, 'first');
    chaos.freeze();
    // What does not answer is given up for another connection, which is silent as well.
    await eventually(() => expect(chaos.connections).toBe(0));
    chaos.thaw();
    await untilHeard(here.wakeups, there.heard, 'thawed');
    chaos.cut();
    await untilHeard(here.wakeups, there.heard, 'cut');
  });

  it('end while the server is silent', async () => {
    const chaos = await createChaos(test.target.socketPath ?? '');
    onTestFinished(() => chaos.close());
    const { wakeups, heard } = open({ ...test.target, socketPath: chaos.socketPath });
    await untilHeard(wakeups, heard, 'own');
    chaos.freeze();
    await expect(wakeups.close()).resolves.toBeUndefined();
  });
});

describe('a reader on another node', () => {
  let accountId: string;
  let accounts = 0;

  beforeEach(async () => {
    accounts += 1;
    accountId = `account-${accounts}`;
    await addAccount(test.database, accountId);
  });

  it('gets what is committed elsewhere without a poll', async () => {
    // A poll once an hour: only a wake-up explains what it reads.
    const feed = test.openFeed({ pollMs: HOUR_MS });
    const there = open(test.target, (account, seq) => feed.wake(account, seq));
    const here = open();
    await untilHeard(here.wakeups, there.heard, 'ready');
    const watch = feed.watch(accountId);
    const place = await watch.head({});
    const seqs = await append(test.database, makeChange({ accountId }));
    const waiting = watch.wait(place, {});
    here.wakeups.publish([...seqs].map(([account, seq]) => ({ account, seq })));
    await waiting;
    const changes = await watch.read(place, READER);
    expect(changes?.map(({ seq }) => seq)).toEqual(['1']);
  });

  it('misses nothing where no wake-up comes: it polls', async () => {
    const feed = test.openFeed();
    const there = open(test.target, (account, seq) => feed.wake(account, seq));
    await untilHeard(there.wakeups, there.heard, 'ready');
    const watch = feed.watch(accountId);
    const place = await watch.head({});
    await killListeners();
    await append(test.database, makeChange({ accountId }));
    await watch.wait(place, {});
    const changes = await watch.read(place, READER);
    expect(changes?.map(({ seq }) => seq)).toEqual(['1']);
  });
});
