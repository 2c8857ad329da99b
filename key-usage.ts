import type { RateLimits } from './config.ts';

/** What a key uses of one process. */
interface KeyUsage extends Held {
  /** Of the actor; empty: the sockets of everybody. */
  readonly name: string;
  /** Units since the last report. */
  readonly spent: number;
}

interface Held {
  readonly operations: number;
  readonly sockets: number;
  readonly streams: number;
}

/** Of the keys of which something has changed since the last one. */
export type UsageReport = readonly KeyUsage[];

/** What a key has left to spend, and holds here and at other processes. */
interface Usage {
  readonly name: string;
  units: number;
  atMs: number;
  /** Here, since the last report. */
  spent: number;
  readonly here: Counts;
  readonly elsewhere: Counts;
}

type Counts = { -readonly [Name in keyof Held]: number };

/** Stands for all keys; no actor is called so. */
export const EVERYBODY = '';

/** Beyond this many keys, those of which nothing is to be remembered are forgotten. */
const KEYS_MAX = 10_000;
const NONE: Held = { operations: 0, sockets: 0, streams: 0 };
const COUNTED = ['operations', 'sockets', 'streams'] as const;

/** Here and elsewhere. */
export function countOf({ here, elsewhere }: Usage, what: keyof Held): number {
  return here[what] + elsewhere[what];
}

/** What keys use of this process, and of those it hears of; reports are kept only where it is shared. */
export function createLedger(limits: RateLimits, nowMs: () => number, isShared: boolean) {
  const usages = createUsages(limits, nowMs);
  const changed = new Set<string>();
  /** What each other process holds, by key. */
  const others = new Map<number, Map<string, Held>>();

  function change({ name }: Usage): void {
    if (isShared) changed.add(name);
  }

  function hold(from: number, name: string, held: Held): void {
    const known = others.get(from) ?? new Map<string, Held>();
    others.set(from, known);
    const before = known.get(name) ?? NONE;
    const { elsewhere } = usages.get(name);
    for (const what of COUNTED) elsewhere[what] += held[what] - before[what];
    if (isNothing(held)) known.delete(name);
    else known.set(name, held);
  }

  return {
    usageOf: usages.get,
    spend(usage: Usage, units: number): void {
      usage.units -= units;
      usage.spent += units;
      change(usage);
    },
    /** What it returns gives it back, and may be called twice. */
    take(usage: Usage, what: keyof Held): () => void {
      usage.here[what] += 1;
      change(usage);
      let isDone = false;
      return () => {
        if (isDone) return;
        isDone = true;
        usage.here[what] -= 1;
        change(usage);
      };
    },
    report(): UsageReport {
      const report = [...changed].map((name) => {
        // One that was forgotten meanwhile holds nothing.
        const usage = usages.get(name);
        const { spent } = usage;
        usage.spent = 0;
        return { name, spent, ...usage.here };
      });
      changed.clear();
      return report;
    },
    hear(from: number, report: UsageReport): void {
      for (const { name, spent, ...held } of report) {
        usages.get(name).units -= spent;
        hold(from, name, held);
      }
    },
    forget(from: number): void {
      for (const name of others.get(from)?.keys() ?? []) hold(from, name, NONE);
      others.delete(from);
    },
  };
}

/** Of each key by its name; what it may spend has grown until now. */
function createUsages({ unitsPerSecond, unitsBurst }: RateLimits, nowMs: () => number) {
  const usages = new Map<string, Usage>();

  function refill(usage: Usage): Usage {
    const now = nowMs();
    const earned = ((now - usage.atMs) / 1000) * unitsPerSecond;
    usage.units = Math.min(unitsBurst, usage.units + earned);
    usage.atMs = now;
    return usage;
  }

  function forgetIdle(): void {
    for (const [name, usage] of usages) {
      refill(usage);
      const isIdle = COUNTED.every((what) => countOf(usage, what) === 0);
      if (isIdle && usage.units === unitsBurst) usages.delete(name);
    }
  }

  return {
    get(name: string): Usage {
      const known = usages.get(name);
      if (known !== undefined) return refill(known);
      if (usages.size >= KEYS_MAX) forgetIdle();
      const usage: Usage = {
        name,
        units: unitsBurst,
        atMs: nowMs(),
        spent: 0,
        here: { ...NONE },
        elsewhere: { ...NONE },
      };
      usages.set(name, usage);
      return usage;
    },
  };
}

/** What each of several processes holds, to be told to one that has heard nothing yet. */
export function createHoldings() {
  const holdings = new Map<number, Map<string, KeyUsage>>();
  return {
    add(from: number, report: UsageReport): void {
      const known = holdings.get(from) ?? new Map<string, KeyUsage>();
      holdings.set(from, known);
      for (const usage of report) {
        if (isNothing(usage)) known.delete(usage.name);
        else known.set(usage.name, { ...usage, spent: 0 });
      }
    },
    delete: (from: number) => holdings.delete(from),
    all: (): readonly (readonly [number, UsageReport])[] =>
      [...holdings].map(([from, known]) => [from, [...known.values()]]),
  };
}

function isNothing(held: Held): boolean {
  return COUNTED.every((what) => held[what] === 0);
}
