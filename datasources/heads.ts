import { LRUCache } from 'lru-cache';
import { AppError } from '../errors.ts';
import type { Lane } from './lane.ts';
import type { Sql } from './sql.ts';

/** The account's log as a whole, where the last seq of one entity is not enough. */
export const ANY_ENTITY = '*';

/** What a result depends on: the changes of an entity in an account's log. */
export interface Use {
  readonly accountId: string;
  /** Or ANY_ENTITY. */
  readonly entity: string;
}

/** A use with the last seq of its changes that the result contains for certain. */
export interface Basis extends Use {
  /** The history that the seq is one of. */
  readonly epoch: string;
  readonly seq: number;
}

/** What one unit of work appended to one account's log. */
export interface Touched {
  readonly accountId: string;
  readonly seq: number;
  /** The last seq of each entity that has changes. */
  readonly entitySeqs: ReadonlyMap<string, number>;
}

/** Time as this module sees it; tests move it by hand. */
export interface HeadsClock {
  /** Milliseconds since some moment; never goes back. */
  nowMs(): number;
  /** Calls `ring` once after `delayMs`; what it returns calls that off. */
  setTimer(delayMs: number, ring: () => void): () => void;
}

/**
 * The heads of the accounts in use, as far as this process knows them. They tell whether a result
 * that was read earlier is still what would be read now: what this process has committed counts at
 * once, what others have committed within the age that a look at the table may have.
 */
export interface Heads {
  /**
   * What the results of these uses rest on, if they are read from now on. Null: the heads are not
   * known, or were looked up too long ago; `refresh` looks them up.
   */
  basisOf(uses: readonly Use[]): readonly Basis[] | null;
  /** Whether a result with this basis is still current; null: as in `basisOf`. */
  isCurrent(basis: readonly Basis[]): boolean | null;
  /**
   * Looks these heads up, in one statement with whoever else asks. It waits a quarter of a second
   * at most and never fails: what cannot be known is not known afterwards.
   */
  refresh(accountIds: Iterable<string>): Promise<void>;
  /**
   * Resolves when this seq of an account is known to be committed; everything that `isCurrent` says
   * from then on includes it. A seq that is ahead of the log is waited for, up to `timeMs`.
   *
   * @throws AppError NOT_FOUND for an unknown account; UNAVAILABLE with the `headSeq` there is, or
   * when the heads cannot be read
   */
  reach(accountId: string, seq: number, timeMs: number): Promise<void>;
  /** This process has committed; the changes count from now on. */
  committed(touched: readonly Touched[]): void;
  /** Somebody says that this seq is committed: a hint, so the account is looked up anew. */
  wake(accountId: string, seq: number): void;
  /** From now on others may write as well, or a commit of this process may be unknown to it. */
  distrust(): void;
}

export interface HeadsOptions {
  readonly feed: Pick<Lane, 'sql'>;
  /** Whether nobody else writes to this database: then what is known once stays true. */
  readonly isSoleWriter: boolean;
  /** Told of a log that went back although it has its old name, until it has another one. */
  readonly onReplaced: (accountId: string, epoch: string) => void;
  readonly clock?: HeadsClock;
}

/** A row of account_heads. Seqs are int8 and stand as strings. */
interface HeadRow {
  readonly accountId: string;
  readonly epoch: string;
  readonly seq: string;
  readonly entitySeqs: Readonly<Record<string, string>>;
}

/** How old a look at a head may be: others' commits count within this time. */
export const HEAD_AGE_MS_MAX = 200;
const ACCOUNTS_MAX = 10_000;
/** Accounts that were asked for this recently are looked up along with others. */
const IN_USE_MS = 1000;
const LOOKED_UP_TOGETHER_MAX = 500;
const STATEMENT_MS_MAX = 1000;
const WAIT_MS_MAX = 250;
/** After a look-up that failed. */
const REST_MS = 500;
const REACH_EVERY_MS = 25;

/** When a statement began that looks at heads. */
interface Look {
  readonly atMs: number;
  /** Its place among looks, commits and hints. */
  readonly turn: number;
}

interface Known {
  readonly epoch: string;
  seq: number;
  readonly entitySeqs: Map<string, number>;
  /** The newest look that it was seen by. */
  look: Look;
  /** Since when `seq` is known: what is looked up later cannot be less. */
  seqTurn: number;
  /** A look that began before this says too little. */
  wokenTurn: number;
  usedAtMs: number;
}

interface LookUp {
  readonly accountIds: Set<string>;
  /** Those that exist; null: it could not be read. */
  readonly found: Promise<ReadonlySet<string> | null>;
  look: Look;
}

const systemClock: HeadsClock = {
  nowMs: () => performance.now(),
  setTimer(delayMs, ring) {
    const timer = setTimeout(ring, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

export function createHeads(options: HeadsOptions): Heads {
  const { feed, onReplaced, clock = systemClock } = options;
  const known = new LRUCache<string, Known>({ max: ACCOUNTS_MAX });
  // Commits while a look is under way, which may have missed them.
  const missed = new Map<string, number>();
  // Histories that have ended: nothing is known of an account until it has another one.
  const endedEpochs = new LRUCache<string, string>({ max: ACCOUNTS_MAX });
  let isSoleWriter = options.isSoleWriter;
  let turns = 0;
  let running: LookUp | null = null;
  let waiting: LookUp | null = null;
  let restsUntilMs = Number.NEGATIVE_INFINITY;

  function nextTurn(): number {
    turns += 1;
    return turns;
  }

  function fresh(accountId: string): Known | null {
    const head = known.get(accountId);
    if (head === undefined) return null;
    const nowMs = clock.nowMs();
    head.usedAtMs = nowMs;
    if (head.look.turn < head.wokenTurn) return null;
    return isSoleWriter || nowMs - head.look.atMs <= HEAD_AGE_MS_MAX ? head : null;
  }

  /** The look-up that these accounts are part of and that begins after this call. */
  function lookUp(accountIds: Iterable<string>): LookUp {
    if (waiting === null) {
      const { promise: found, resolve } = Promise.withResolvers<ReadonlySet<string> | null>();
      const next: LookUp = { accountIds: new Set(), found, look: { atMs: 0, turn: 0 } };
      waiting = next;
      const before = running?.found ?? Promise.resolve();
      before.then(() => run(next)).then(resolve, () => resolve(null));
    }
    for (const accountId of accountIds) waiting.accountIds.add(accountId);
    return waiting;
  }

  /** The one under way is enough for what only must not be old. */
  function join(accountIds: readonly string[]): LookUp {
    const current = running;
    if (current === null) return lookUp(accountIds);
    const isCovered = accountIds.every(
      (accountId) =>
        current.accountIds.has(accountId) &&
        current.look.turn >= (known.peek(accountId)?.wokenTurn ?? 0),
    );
    return isCovered ? current : lookUp(accountIds);
  }

  async function run(next: LookUp): Promise<ReadonlySet<string> | null> {
    waiting = null;
    running = next;
    next.look = { atMs: clock.nowMs(), turn: nextTurn() };
    addThoseInUse(next);
    try {
      const deadlineAt = performance.now() + STATEMENT_MS_MAX;
      const sql = feed.sql({ requestId: NAME, operationName: NAME, deadlineAt });
      const rows = await readHeadRows(sql, [...next.accountIds]);
      for (const row of rows) adopt(row, next.look);
      return new Set(rows.map(({ accountId }) => accountId));
    } catch (error) {
      // Without heads nothing is cached; whoever needs the database is told by its own statements.
      if (!(error instanceof AppError)) throw error;
      restsUntilMs = clock.nowMs() + REST_MS;
      return null;
    } finally {
      running = null;
      missed.clear();
    }
  }

  function addThoseInUse({ accountIds, look }: LookUp): void {
    for (const [accountId, { usedAtMs }] of known) {
      // The one used last comes first.
      if (accountIds.size >= LOOKED_UP_TOGETHER_MAX || look.atMs - usedAtMs > IN_USE_MS) return;
      accountIds.add(accountId);
    }
  }

  function adopt(row: HeadRow, look: Look): void {
    const { accountId, epoch } = row;
    if (endedEpochs.get(accountId) === epoch) {
      onReplaced(accountId, epoch);
      return;
    }
    const seq = Number(row.seq);
    const head = known.peek(accountId);
    if (head === undefined || head.epoch !== epoch) {
      const isOlder = look.turn < (head?.look.turn ?? 0) || seq < (missed.get(accountId) ?? 0);
      if (!isOlder) known.set(accountId, makeKnown(row, look, nextTurn()));
    } else if (seq < head.seq && look.turn > head.seqTurn) {
      known.delete(accountId);
      endedEpochs.set(accountId, epoch);
      onReplaced(accountId, epoch);
    } else {
      rise(head, seq, Object.entries(row.entitySeqs));
      if (look.turn > head.look.turn) head.look = look;
    }
  }

  /** Looks and commits may arrive in any order: what is greater stays. */
  function rise(
    head: Known,
    seq: number,
    entitySeqs: Iterable<readonly [string, string | number]>,
  ): void {
    if (seq > head.seq) {
      head.seq = seq;
      head.seqTurn = nextTurn();
    }
    raise(head.entitySeqs, entitySeqs);
  }

  async function reach(accountId: string, seq: number, timeMs: number): Promise<void> {
    const endAtMs = clock.nowMs() + timeMs;
    while ((known.get(accountId)?.seq ?? -1) < seq) {
      const found = await withTimer(clock, lookUp([accountId]).found, timeMs);
      const headSeq = known.peek(accountId)?.seq ?? -1;
      if (headSeq >= seq) return;
      if (found === null) throw unreadable();
      if (!found.has(accountId)) throw unknownAccount(accountId);
      const leftMs = endAtMs - clock.nowMs();
      if (leftMs <= 0) throw notReached(accountId, seq, headSeq);
      await new Promise<void>((resolve) => {
        clock.setTimer(Math.min(leftMs, REACH_EVERY_MS), resolve);
      });
    }
  }

  return {
    basisOf(uses) {
      const basis: Basis[] = [];
      for (const { accountId, entity } of uses) {
        const head = fresh(accountId);
        if (head === null) return null;
        basis.push({ accountId, entity, epoch: head.epoch, seq: seqOf(head, entity) });
      }
      return basis;
    },
    isCurrent(basis) {
      for (const { accountId, entity, epoch, seq } of basis) {
        const head = fresh(accountId);
        if (head === null) return null;
        if (head.epoch !== epoch || seqOf(head, entity) > seq) return false;
      }
      return true;
    },
    async refresh(accountIds) {
      const unknown = [...accountIds].filter((accountId) => fresh(accountId) === null);
      if (unknown.length === 0 || clock.nowMs() < restsUntilMs) return;
      await withTimer(clock, join(unknown).found, WAIT_MS_MAX);
    },
    reach,
    committed(touched) {
      for (const { accountId, seq, entitySeqs } of touched) {
        const head = known.peek(accountId);
        if (head !== undefined) rise(head, seq, entitySeqs);
        if (running !== null) missed.set(accountId, Math.max(seq, missed.get(accountId) ?? 0));
      }
    },
    wake(accountId, seq) {
      const head = known.peek(accountId);
      if (head !== undefined && seq > head.seq) head.wokenTurn = nextTurn();
    },
    distrust() {
      isSoleWriter = false;
    },
  };
}

/** What no client asked for is named after itself. */
const NAME = 'heads.read';

async function readHeadRows(sql: Sql, accountIds: readonly string[]): Promise<readonly HeadRow[]> {
  return sql<HeadRow>`
    /* heads.read */
    select account_id, epoch, seq, entity_seqs from account_heads
    where account_id = any(${accountIds}::text[])`;
}

function makeKnown(row: HeadRow, look: Look, turn: number): Known {
  const entitySeqs = new Map<string, number>();
  raise(entitySeqs, Object.entries(row.entitySeqs));
  return {
    epoch: row.epoch,
    seq: Number(row.seq),
    entitySeqs,
    look,
    seqTurn: turn,
    wokenTurn: 0,
    usedAtMs: look.atMs,
  };
}

function raise(
  entitySeqs: Map<string, number>,
  more: Iterable<readonly [string, number | string]>,
): void {
  for (const [entity, given] of more) {
    const seq = Number(given);
    if (seq > (entitySeqs.get(entity) ?? 0)) entitySeqs.set(entity, seq);
  }
}

function seqOf(head: Known, entity: string): number {
  return entity === ANY_ENTITY ? head.seq : (head.entitySeqs.get(entity) ?? 0);
}

/** What `work` gives, or null when the time is over. */
function withTimer<T>(clock: HeadsClock, work: Promise<T | null>, timeMs: number) {
  return new Promise<T | null>((resolve) => {
    const stop = clock.setTimer(timeMs, () => resolve(null));
    const settle = (value: T | null) => {
      stop();
      resolve(value);
    };
    work.then(settle, () => settle(null));
  });
}

const PATH = { path: ['minCommit'] };

function unknownAccount(accountId: string): AppError {
  return new AppError('NOT_FOUND', `There is no account ${JSON.stringify(accountId)}.`, PATH);
}

function unreadable(): AppError {
  return new AppError('UNAVAILABLE', 'The heads of the log cannot be read at the moment.', {
    retryAfterMs: 1000,
  });
}

function notReached(accountId: string, seq: number, headSeq: number): AppError {
  return new AppError(
    'UNAVAILABLE',
    `The log of ${accountId} ends at ${headSeq}: ${accountId}:${seq} is not committed.`,
    { ...PATH, retryAfterMs: 1000, details: { headSeq: String(headSeq) } },
  );
}
