import { median } from './table.ts';

/** One way of doing the same work: each job is one request or one transaction. */
export interface Contender {
  /** Makes the jobs of a round, before the clock runs: one list for each connection. */
  prepare(round: number): Promise<readonly (readonly Job[])[]>;
}

export type Job = () => Promise<void>;

export interface Race {
  /** Jobs a second, the median of the rounds. */
  readonly product: number;
  readonly limit: number;
  /** The median of the rounds' own ratios: both sides of a round met the same machine. */
  readonly ratio: number;
}

/** Rounds that nothing is measured in: caches, prepared statements and the compiler fill. */
const WARM_ROUNDS = 2;

/** Both contenders in turn, round by round, so that noise of the machine meets both. */
export async function race(product: Contender, limit: Contender, rounds: number): Promise<Race> {
  const rates: { product: number; limit: number }[] = [];
  for (let round = 0; round < WARM_ROUNDS + rounds; round += 1) {
    const isProductFirst = round % 2 === 0;
    const first = await rateOf(isProductFirst ? product : limit, round);
    const second = await rateOf(isProductFirst ? limit : product, round);
    if (round < WARM_ROUNDS) continue;
    rates.push(
      isProductFirst ? { product: first, limit: second } : { product: second, limit: first },
    );
  }
  return {
    product: median(rates.map((rate) => rate.product)),
    limit: median(rates.map((rate) => rate.limit)),
    ratio: median(rates.map((rate) => rate.product / rate.limit)),
  };
}

async function rateOf(contender: Contender, round: number): Promise<number> {
  const lists = await contender.prepare(round);
  const startedAt = performance.now();
  await Promise.all(
    lists.map(async (jobs) => {
      for (const job of jobs) await job();
    }),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  return lists.reduce((sum, jobs) => sum + jobs.length, 0) / seconds;
}
