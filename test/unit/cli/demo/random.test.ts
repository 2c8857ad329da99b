import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../../cli/demo/random.ts';

const draw = (count: number, next: () => number) => Array.from({ length: count }, next);

describe('createRandom', () => {
  it('gives the same numbers for the same seed and stream on every machine', () => {
    const { next } = createRandom(42, 'market');
    expect(draw(3, next)).toEqual([0.30411644326522946, 0.8906393037177622, 0.9746994604356587]);
  });

  it('gives other numbers for another seed or another stream', () => {
    const first = draw(8, createRandom(1, 'market').next);
    expect(draw(8, createRandom(2, 'market').next)).not.toEqual(first);
    expect(draw(8, createRandom(1 + 2 ** 32, 'market').next)).not.toEqual(first);
    expect(draw(8, createRandom(1, 'predictions').next)).not.toEqual(first);
  });

  it('is uniform in [0, 1)', () => {
    const { next } = createRandom(7, 'uniform');
    const counts = new Array<number>(10).fill(0);
    for (const value of draw(100_000, next)) {
      counts[Math.floor(value * 10)] = (counts[Math.floor(value * 10)] ?? 0) + 1;
    }
    expect(counts).toHaveLength(10);
    // Four deviations of a binomial with p = 0.1.
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(380);
  });

  it('is normal with mean 0 and deviation 1', () => {
    const values = draw(50_000, createRandom(7, 'normal').normal);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + value ** 2, 0) / values.length - mean ** 2;
    expect(Math.abs(mean)).toBeLessThan(0.02);
    expect(Math.abs(variance - 1)).toBeLessThan(0.03);
    expect(values.filter((value) => Math.abs(value) < 1.96).length / values.length).toBeCloseTo(
      0.95,
      2,
    );
  });
});
