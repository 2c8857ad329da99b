import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { type CacheStore, VALUE_BYTES_MAX } from './cache-store.ts';
import type { CacheFigures } from './health.ts';
import type { Basis, Heads, Use } from './heads.ts';
import type { Call } from './lane.ts';
import { assertInTime, deadlineExceeded } from './slot.ts';

/** A read whose result may be kept: its name, its arguments, and what the result depends on. */
export interface CachedRead {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly uses: readonly Use[];
  /** Upper bound, however long nothing is written. */
  readonly ttlMs: number;
}

/** What the reads of one operation have come to. */
export interface OperationReads {
  readonly hits: number;
  readonly misses: number;
  /** One for each use; null: an answer made of these reads must not be kept. */
  readonly basis: readonly Basis[] | null;
  /** Unix milliseconds after which such an answer is not given any more. */
  readonly expiresAtMs: number;
  /** Says that the answer depends on what no head tells, such as the time. */
  forbid(): void;
}

/** Results of reads, given again as long as the heads say that they are what is there. */
export interface ResultCache {
  /** Begins to count the reads of an operation. */
  open(): OperationReads;
  /**
   * The result of a read: one that is kept and still current, that of the same read under way, or
   * what `load` gives. A failure is the caller's own: nobody gets that of another.
   */
  read<T>(reads: OperationReads, call: Call, read: CachedRead, load: () => Promise<T>): Promise<T>;
  /** Counts what was answered; null: the operation has no name. */
  record(operationName: string | null, hits: number, misses: number): void;
  figures(): CacheFigures;
}

export interface ResultCacheOptions {
  readonly store: CacheStore;
  readonly heads: Heads;
  /** Off: nothing is kept and nothing is counted. */
  readonly isOn?: boolean;
  /** Unix milliseconds. */
  readonly nowMs?: () => number;
}

/** Further names are counted together, as `other`. */
export const OPERATION_NAMES_MAX = 500;
/** Reads that are remembered as asked for. */
const ASKED_MAX = 20_000;
/** An answer that depends on more is not kept. */
const BASIS_MAX = 64;

/** What a read gave; without a basis nobody else may have it. */
interface Found {
  readonly value: unknown;
  readonly basis: readonly Basis[] | null;
  readonly expiresAtMs: number;
  readonly isHit: boolean;
}

/** A read under way. */
interface Flight {
  readonly basis: readonly Basis[];
  readonly found: Promise<Found>;
  followers: number;
}

/** As OperationReads, for whoever counts. */
class Reads implements OperationReads {
  hits = 0;
  misses = 0;
  expiresAtMs = Number.POSITIVE_INFINITY;
  #basis: Map<string, Basis> | null = new Map();

  get basis(): readonly Basis[] | null {
    return this.#basis === null ? null : [...this.#basis.values()];
  }

  forbid(): void {
    this.#basis = null;
  }

  add({ basis, expiresAtMs }: Found): void {
    if (basis === null) this.forbid();
    this.expiresAtMs = Math.min(this.expiresAtMs, expiresAtMs);
    for (const one of basis ?? []) this.#addBasis(one);
  }

  /** Of two reads the older one decides; of two histories none. */
  #addBasis(one: Basis): void {
    const name = `${one.accountId} ${one.entity}`;
    const other = this.#basis?.get(name);
    if (other !== undefined && other.epoch !== one.epoch) this.forbid();
    else if (other === undefined || one.seq < other.seq) this.#basis?.set(name, one);
    if ((this.#basis?.size ?? 0) > BASIS_MAX) this.forbid();
  }
}

export function createResultCache(options: ResultCacheOptions): ResultCache {
  const { store, heads, isOn = true, nowMs = Date.now } = options;
  const flights = new Map<string, Flight>();
  // A result is kept from the second time on that it is asked for: most never are.
  const asked = new LRUCache<string, 'once' | 'too long'>({ max: ASKED_MAX });
  const counts = createCounts();

  async function basisOf(uses: readonly Use[]): Promise<readonly Basis[] | null> {
    const basis = heads.basisOf(uses);
    if (basis !== null) return basis;
    await heads.refresh(uses.map(({ accountId }) => accountId));
    return heads.basisOf(uses);
  }

  async function lookUp(key: string): Promise<Found | null> {
    const text = await store.get(key);
    const found = text === null ? null : unpack(text);
    if (found === null || found.expiresAtMs <= nowMs()) return null;
    return heads.isCurrent(found.basis ?? []) === true ? found : null;
  }

  async function lead(
    key: string,
    read: CachedRead,
    load: () => Promise<unknown>,
    isShared: () => boolean,
  ): Promise<Found> {
    const kept = await lookUp(key);
    if (kept !== null) return kept;
    // Before loading: what is committed from here on may be in the result or not.
    const basis = heads.basisOf(read.uses);
    const value = await load();
    const found: Found = { value, basis, expiresAtMs: nowMs() + read.ttlMs, isHit: false };
    keep(key, found, read.ttlMs, isShared());
    return found;
  }

  function keep(key: string, found: Found, ttlMs: number, isShared: boolean): void {
    const { basis } = found;
    if (basis === null || heads.isCurrent(basis) === false) return;
    const before = asked.get(key);
    if (before === 'too long') return;
    if (before === undefined) asked.set(key, 'once');
    if (before === undefined && !isShared) return;
    const text = pack(found);
    if (text === null) asked.set(key, 'too long');
    else store.set(key, text, ttlMs);
  }

  function start(
    key: string,
    basis: readonly Basis[],
    read: CachedRead,
    load: () => Promise<unknown>,
  ): Flight {
    const found = lead(key, read, load, () => flight.followers > 0);
    const flight: Flight = { basis, found, followers: 0 };
    flights.set(key, flight);
    const land = () => {
      if (flights.get(key) === flight) flights.delete(key);
    };
    found.then(land, land);
    return flight;
  }

  /** What another caller's read gives; null when it fails. */
  async function follow(flight: Flight, call: Call): Promise<Found | null> {
    flight.followers += 1;
    const found = await inTime(
      flight.found.catch(() => null),
      call,
    );
    return found === null ? null : { ...found, isHit: true };
  }

  async function find(call: Call, read: CachedRead, load: () => Promise<unknown>): Promise<Found> {
    const basis = await basisOf(read.uses);
    if (basis === null) return loadAlone(load);
    const key = keyOf(read);
    const flight = flights.get(key);
    // One that began before a commit that is known by now may not have seen it.
    if (flight === undefined || heads.isCurrent(flight.basis) !== true) {
      return start(key, basis, read, load).found;
    }
    return (await follow(flight, call)) ?? loadAlone(load);
  }

  return {
    open() {
      const reads = new Reads();
      if (!isOn) reads.forbid();
      return reads;
    },
    async read<T>(reads: OperationReads, call: Call, read: CachedRead, load: () => Promise<T>) {
      if (!isOn) return load();
      const found = await find(call, read, load);
      // Made by `open`.
      const own = reads as Reads;
      own.add(found);
      if (found.isHit) own.hits += 1;
      else own.misses += 1;
      // What was kept under this key is what `load` gave, through JSON and back.
      return found.value as T;
    },
    record: counts.record,
    figures() {
      const { entries, isAvailable } = store.figures();
      return { backend: store.backend, entries, isAvailable, ...counts.figures() };
    },
  };
}

async function loadAlone(load: () => Promise<unknown>): Promise<Found> {
  const value = await load();
  return { value, basis: null, expiresAtMs: Number.POSITIVE_INFINITY, isHit: false };
}

/** Results are the same for everyone who may ask: who may is checked before this. */
function keyOf({ name, args }: CachedRead): string {
  return hash('sha256', `${name} ${JSON.stringify(args)}`, 'base64url');
}

/** Null when it is too long to be kept. */
function pack({ value, basis, expiresAtMs }: Found): string | null {
  const text = JSON.stringify(value);
  if (text === undefined || text.length > VALUE_BYTES_MAX) return null;
  const head = (basis ?? []).map((one) => [one.accountId, one.entity, one.epoch, one.seq]);
  const whole = `${JSON.stringify([expiresAtMs, head])}\n${text}`;
  return Buffer.byteLength(whole) > VALUE_BYTES_MAX ? null : whole;
}

/** Null for what this program has not packed. */
function unpack(text: string): Found | null {
  try {
    const end = text.indexOf('\n');
    const [expiresAtMs, head] = JSON.parse(text.slice(0, end));
    const basis = (head as readonly (readonly [string, string, string, number])[]).map(
      ([accountId, entity, epoch, seq]): Basis => ({ accountId, entity, epoch, seq }),
    );
    if (typeof expiresAtMs !== 'number' || basis.length === 0) return null;
    return { value: JSON.parse(text.slice(end + 1)), basis, expiresAtMs, isHit: true };
  } catch {
    // It is loaded as if it were not there.
    return null;
  }
}

/** @throws AppError DEADLINE_EXCEEDED when the call's time is over first, or nobody waits any more */
async function inTime<T>(work: Promise<T>, call: Call): Promise<T> {
  assertInTime(call);
  const { promise: late, reject } = Promise.withResolvers<never>();
  const end = () => reject(deadlineExceeded());
  const timer = setTimeout(end, Math.min(TIMER_MS_MAX, call.deadlineAt - performance.now()));
  call.signal?.addEventListener('abort', end, { once: true });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    call.signal?.removeEventListener('abort', end);
  }
}

/** A longer timer goes off at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

function createCounts() {
  const byName = new Map<string, { hits: number; misses: number }>();
  const total = { hits: 0, misses: 0 };

  function countsOf(operationName: string | null) {
    const isNew = operationName === null || !byName.has(operationName);
    const name = isNew && byName.size >= OPERATION_NAMES_MAX ? 'other' : (operationName ?? 'other');
    const found = byName.get(name) ?? { hits: 0, misses: 0 };
    byName.set(name, found);
    return found;
  }

  return {
    record(operationName: string | null, hits: number, misses: number): void {
      if (hits + misses === 0) return;
      for (const count of [total, countsOf(operationName)]) {
        count.hits += hits;
        count.misses += misses;
      }
    },
    figures: () => ({
      ...total,
      operations: [...byName].map(([name, { hits, misses }]) => ({
        name,
        hits,
        misses,
        hitRate: hits / (hits + misses),
      })),
    }),
  };
}
