import type { Call, LaneName } from './lane.ts';

/** One run of a statement. */
export interface StatementRun {
  readonly name: string;
  readonly lane: LaneName;
  /** From the first byte sent to the last row read; without the wait for a slot. */
  readonly ms: number;
  readonly rows: number;
  /** The code of the error, or null. */
  readonly error: string | null;
  readonly call: Call;
}

export interface StatementFigures {
  readonly name: string;
  readonly calls: number;
  readonly errors: number;
  readonly rows: number;
  readonly msTotal: number;
  readonly msMean: number;
  /** Of a histogram: at most 9 % off. */
  readonly msP50: number;
  readonly msP95: number;
  readonly msP99: number;
  readonly msMax: number;
}

export interface SlowStatement {
  readonly name: string;
  readonly lane: LaneName;
  readonly ms: number;
  readonly rows: number;
  readonly error: string | null;
  readonly requestId: string;
  readonly operationName: string | null;
  /** When it ended, ISO 8601. */
  readonly at: string;
}

export interface StatementSnapshot {
  readonly since: string;
  readonly totals: Omit<StatementFigures, 'name'>;
  /** The one that took most time in all first. */
  readonly statements: readonly StatementFigures[];
  /** Newest first. */
  readonly slow: readonly SlowStatement[];
}

/** The totals as they stood at a moment. */
export interface StatementMark {
  readonly calls: number;
  readonly errors: number;
  readonly rows: number;
  readonly msTotal: number;
  readonly buckets: Uint32Array;
}

/** What statements cost, since the process started. */
export interface StatementStatistics {
  record(run: StatementRun): void;
  snapshot(): StatementSnapshot;
  /** The totals now, to compare later ones with. */
  mark(): StatementMark;
  /** The totals of what came after a mark; `msMax` is the upper end of the slowest one's bucket. */
  since(mark: StatementMark): Omit<StatementFigures, 'name'>;
  /** How many were slow; the list of them forgets. */
  slowCount(): number;
}

/** Further names are counted together, as `other`. */
export const STATEMENT_NAMES_MAX = 500;
/** Older ones are forgotten. */
export const SLOW_STATEMENTS_MAX = 200;
export const SLOW_MS = 100;
export const SLOW_TRADING_MS = 50;

/** The part of a pino logger that is used here. */
export interface WarnLog {
  warn(fields: object, message: string): void;
}

export function createStatementStatistics(log: WarnLog): StatementStatistics {
  const since = new Date().toISOString();
  const totals = new Figures();
  const byName = new Map<string, Figures>();
  const slow: SlowStatement[] = [];
  let slowNext = 0;
  let slowCount = 0;

  function figuresFor(name: string): Figures {
    let figures = byName.get(name);
    if (figures !== undefined) return figures;
    if (byName.size >= STATEMENT_NAMES_MAX) return figuresOfOthers();
    figures = new Figures();
    byName.set(name, figures);
    return figures;
  }

  function figuresOfOthers(): Figures {
    const figures = byName.get('other') ?? new Figures();
    byName.set('other', figures);
    return figures;
  }

  function recordSlow({ name, lane, ms, rows, error, call }: StatementRun): void {
    const { requestId, operationName } = call;
    const at = new Date().toISOString();
    slow[slowNext] = { name, lane, ms, rows, error, requestId, operationName, at };
    slowNext = (slowNext + 1) % SLOW_STATEMENTS_MAX;
    slowCount += 1;
    // Never the parameters: they are the customer's.
    log.warn(
      { statement: name, lane, ms: Math.round(ms), rows, error, requestId },
      'slow statement',
    );
  }

  return {
    record(run) {
      totals.add(run);
      figuresFor(run.name).add(run);
      if (run.ms > (run.lane === 'trading' ? SLOW_TRADING_MS : SLOW_MS)) recordSlow(run);
    },
    snapshot() {
      const statements = [...byName].map(([name, figures]) => ({ name, ...figures.read() }));
      return {
        since,
        totals: totals.read(),
        statements: statements.sort((a, b) => b.msTotal - a.msTotal),
        slow: [...slow.slice(slowNext), ...slow.slice(0, slowNext)].reverse(),
      };
    },
    mark: () => totals.mark(),
    since: (mark) => totals.since(mark),
    slowCount: () => slowCount,
  };
}

const BUCKETS_PER_OCTAVE = 8;
/** 1 µs to 134 s, in steps of 9 %. */
const BUCKETS = 27 * BUCKETS_PER_OCTAVE;

class Figures {
  #calls = 0;
  #errors = 0;
  #rows = 0;
  #msTotal = 0;
  #msMax = 0;
  readonly #buckets = new Uint32Array(BUCKETS);

  add({ ms, rows, error }: StatementRun): void {
    this.#calls += 1;
    if (error !== null) this.#errors += 1;
    this.#rows += rows;
    this.#msTotal += ms;
    if (ms > this.#msMax) this.#msMax = ms;
    const bucket = Math.floor(Math.log2(ms * 1000) * BUCKETS_PER_OCTAVE);
    const index = Math.max(0, Math.min(BUCKETS - 1, bucket));
    this.#buckets[index] = (this.#buckets[index] ?? 0) + 1;
  }

  mark(): StatementMark {
    return {
      calls: this.#calls,
      errors: this.#errors,
      rows: this.#rows,
      msTotal: this.#msTotal,
      buckets: this.#buckets.slice(),
    };
  }

  read(): Omit<StatementFigures, 'name'> {
    return figuresOf({ ...this.mark(), buckets: this.#buckets }, this.#msMax);
  }

  since(mark: StatementMark): Omit<StatementFigures, 'name'> {
    const buckets = this.#buckets.map((count, index) => count - (mark.buckets[index] ?? 0));
    const last = buckets.findLastIndex((count) => count > 0);
    const span = {
      calls: this.#calls - mark.calls,
      errors: this.#errors - mark.errors,
      rows: this.#rows - mark.rows,
      msTotal: this.#msTotal - mark.msTotal,
      buckets,
    };
    return figuresOf(span, last === -1 ? 0 : Math.min(this.#msMax, msOf(last + 1)));
  }
}

function figuresOf(span: StatementMark, msMax: number): Omit<StatementFigures, 'name'> {
  const { calls, errors, rows, msTotal } = span;
  return {
    calls,
    errors,
    rows,
    msTotal,
    msMean: calls === 0 ? 0 : msTotal / calls,
    msP50: Math.min(msMax, quantile(span, 0.5)),
    msP95: Math.min(msMax, quantile(span, 0.95)),
    msP99: Math.min(msMax, quantile(span, 0.99)),
    msMax,
  };
}

/** The middle of the bucket that holds the quantile; 0 when there is nothing. */
function quantile({ calls, buckets }: StatementMark, share: number): number {
  let missing = Math.ceil(calls * share);
  if (missing === 0) return 0;
  for (const [index, count] of buckets.entries()) {
    missing -= count;
    if (missing <= 0) return msOf(index + 0.5);
  }
  return msOf(BUCKETS);
}

/** Where a place on the scale of buckets stands. */
function msOf(place: number): number {
  return 2 ** (place / BUCKETS_PER_OCTAVE) / 1000;
}
