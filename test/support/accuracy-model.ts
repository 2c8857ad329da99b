/**
 * What predictionAccuracy must answer, computed the slow way from the definitions: row by row, each
 * figure by its own pass, ranks by counting. It shares nothing with the SQL.
 */

export type ModelDirection = 'LONG' | 'SHORT' | 'NEUTRAL';

export interface ModelHorizon {
  readonly modelVersion: string;
  readonly symbol: string;
  readonly predictedAt: string;
  readonly horizonMinutes: number;
  readonly direction: ModelDirection;
  readonly confidence: number;
  readonly predictedReturn: number | null;
  /** Null while it is pending. */
  readonly outcome: {
    readonly actualReturn: number;
    readonly actualDirection: ModelDirection;
  } | null;
}

type Resolved = ModelHorizon & { readonly outcome: NonNullable<ModelHorizon['outcome']> };

export type Dimension =
  | 'MODEL_VERSION'
  | 'SYMBOL'
  | 'HORIZON'
  | 'DIRECTION'
  | 'CONFIDENCE_BUCKET'
  | 'DAY';

/** The values of a group, by the names that the answer has for them. */
const VALUES = {
  MODEL_VERSION: (one: ModelHorizon) => ['modelVersion', one.modelVersion],
  SYMBOL: (one: ModelHorizon) => ['symbol', one.symbol],
  HORIZON: (one: ModelHorizon) => ['horizonMinutes', one.horizonMinutes],
  DIRECTION: (one: ModelHorizon) => ['direction', one.direction],
  CONFIDENCE_BUCKET: (one: ModelHorizon) => ['confidenceBucket', bucketOf(one.confidence)],
  DAY: (one: ModelHorizon) => ['day', `${one.predictedAt.slice(0, 10)}T00:00:00.000000Z`],
} as const satisfies Record<Dimension, (one: ModelHorizon) => readonly [string, string | number]>;

const NO_KEYS = {
  modelVersion: null,
  symbol: null,
  horizonMinutes: null,
  direction: null,
  confidenceBucket: null,
  day: null,
};

export type Group = Readonly<Record<string, unknown>>;

/** Groups in the order of the dimensions; without dimensions one, even of nothing. */
export function accuracyOf(
  horizons: readonly ModelHorizon[],
  dimensions: readonly Dimension[],
  minSamples = 1,
): readonly Group[] {
  const groups = new Map<string, { keys: [string, string | number][]; members: ModelHorizon[] }>();
  if (dimensions.length === 0) groups.set('[]', { keys: [], members: [] });
  for (const one of horizons) {
    const keys = dimensions.map((name): [string, string | number] => [...VALUES[name](one)]);
    const name = JSON.stringify(keys);
    const group = groups.get(name) ?? { keys, members: [] };
    groups.set(name, group);
    group.members.push(one);
  }
  return [...groups.values()]
    .sort((a, b) => compareKeys(a.keys, b.keys))
    .map(({ keys, members }) => ({
      ...NO_KEYS,
      ...Object.fromEntries(keys),
      ...figuresOf(members, minSamples),
    }));
}

function compareKeys(a: readonly [string, unknown][], b: readonly [string, unknown][]): number {
  for (const [place, [, value]] of a.entries()) {
    const other = b[place]?.[1];
    if (value === other) continue;
    // Numbers by size, texts by code units.
    return (value as number) < (other as number) ? -1 : 1;
  }
  return 0;
}

function figuresOf(members: readonly ModelHorizon[], minSamples: number) {
  const resolved = members.filter((one): one is Resolved => one.outcome !== null);
  const right = resolved.filter(isRight);
  const errors = resolved.flatMap(({ predictedReturn, outcome }) =>
    predictedReturn === null ? [] : [predictedReturn - outcome.actualReturn],
  );
  const bins = Array.from({ length: 10 }, (_none, bin) =>
    resolved.filter(({ confidence }) => binOf(confidence) === bin),
  );
  const reliability = bins.map((inBin, bin) => ({
    low: bin / 10,
    high: (bin + 1) / 10,
    count: inBin.length,
    meanConfidence: mean(inBin.map(({ confidence }) => confidence)),
    accuracy: mean(inBin.map((one) => Number(isRight(one)))),
  }));
  const gaps = reliability.map(
    ({ count, meanConfidence, accuracy }) =>
      (count / resolved.length) * Math.abs((accuracy ?? 0) - (meanConfidence ?? 0)),
  );
  const squared = mean(errors.map((error) => error ** 2));
  return {
    total: members.length,
    resolved: resolved.length,
    pending: members.length - resolved.length,
    correct: right.length,
    accuracy: wilson(right.length, resolved.length),
    mae: mean(errors.map(Math.abs)),
    rmse: squared === null ? null : Math.sqrt(squared),
    bias: mean(errors),
    meanConfidence: mean(resolved.map(({ confidence }) => confidence)),
    brier: mean(resolved.map((one) => (one.confidence - Number(isRight(one))) ** 2)),
    ece: resolved.length === 0 ? null : gaps.reduce((sum, gap) => sum + gap, 0),
    informationCoefficient: spearman(
      resolved.flatMap(({ predictedReturn, outcome }) =>
        predictedReturn === null ? [] : [[predictedReturn, outcome.actualReturn] as const],
      ),
    ),
    precisionLong: share(resolved, saying('LONG'), being('LONG')),
    precisionShort: share(resolved, saying('SHORT'), being('SHORT')),
    recallLong: share(resolved, being('LONG'), saying('LONG')),
    recallShort: share(resolved, being('SHORT'), saying('SHORT')),
    reliability,
    lowSample: resolved.length < minSamples,
  };
}

function isRight({ direction, outcome }: Resolved): boolean {
  return direction === outcome.actualDirection;
}

function saying(direction: ModelDirection) {
  return (one: Resolved) => one.direction === direction;
}

function being(direction: ModelDirection) {
  return ({ outcome }: Resolved) => outcome.actualDirection === direction;
}

/** Of those that are `one`, the share that is `other` too. */
function share(
  members: readonly Resolved[],
  one: (member: Resolved) => boolean,
  other: (member: Resolved) => boolean,
): number | null {
  return mean(members.filter(one).map((member) => Number(other(member))));
}

function mean(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function binOf(confidence: number): number {
  return Math.min(9, Math.floor(confidence * 10));
}

function bucketOf(confidence: number): string {
  const bin = binOf(confidence);
  return bin === 9 ? '0.9-1.0' : `0.${bin}-0.${bin + 1}`;
}

/** The two roots of (p - x)² = z² x (1 - x) / n, which is how Wilson found the interval. */
function wilson(right: number, samples: number) {
  if (samples === 0) return null;
  const [p, zz] = [right / samples, 1.959963984540054 ** 2 / samples];
  const [a, b, c] = [1 + zz, -(2 * p + zz), p ** 2];
  const root = Math.sqrt(b ** 2 - 4 * a * c);
  return { value: p, low: (-b - root) / (2 * a), high: (-b + root) / (2 * a), samples };
}

function spearman(pairs: readonly (readonly [number, number])[]): number | null {
  const xs = ranksOf(pairs.map(([x]) => x));
  const ys = ranksOf(pairs.map(([, y]) => y));
  const [meanX, meanY] = [mean(xs) ?? 0, mean(ys) ?? 0];
  let [sxy, sxx, syy] = [0, 0, 0];
  for (const [place, x] of xs.entries()) {
    const [dx, dy] = [x - meanX, (ys[place] ?? 0) - meanY];
    sxy += dx * dy;
    sxx += dx * dx;
    syy += dy * dy;
  }
  return sxx === 0 || syy === 0 ? null : sxy / Math.sqrt(sxx * syy);
}

/** The mean of the places, from 1 on, that equal values take together. */
function ranksOf(values: readonly number[]): readonly number[] {
  const places = new Map<number, number[]>();
  for (const [place, value] of values.toSorted((a, b) => a - b).entries()) {
    // A map tells no zeros apart.
    places.set(value, [...(places.get(value) ?? []), place + 1]);
  }
  return values.map((value) => mean(places.get(value) ?? []) ?? Number.NaN);
}
