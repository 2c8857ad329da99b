import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Decimal, toAmount, weightedAverage } from '../../../datasources/decimal.ts';
import { SEED } from '../../support/seed.ts';

describe('a weighted average', () => {
  it.each([
    [['64000.25', '1'], ['64001.25', '1'], '64000.75'],
    [['0', '0'], ['64000.25', '0.125'], '64000.25'],
    [['7', '3'], ['99', '0'], '7'],
    [['1', '1'], ['2', '2'], '1.666666666666666667'],
    [['-1', '1'], ['-2', '2'], '-1.666666666666666667'],
    [['-1', '1'], ['1', '1'], '0'],
    // Exactly between two amounts: the even one, as PostgreSQL's numeric does not.
    [['0.000000000000000001', '1'], ['0.000000000000000002', '1'], '0.000000000000000002'],
    [['0.000000000000000002', '1'], ['0.000000000000000003', '1'], '0.000000000000000002'],
    [['-0.000000000000000001', '1'], ['0', '1'], '0'],
    [['99999999999999999999', '99999999999999999999'], ['0', '1'], '99999999999999999998'],
  ] as const)('of %j and %j is %s', ([amount, weight], [other, otherWeight], expected) => {
    expect(weightedAverage({ amount, weight }, { amount: other, weight: otherWeight })).toBe(
      expected,
    );
  });

  it('is what a division with 200 digits gives', () => {
    const Exact = Decimal.clone({ precision: 200 });
    const decimal = fc
      .tuple(fc.bigInt({ min: 0n, max: 10n ** 38n - 1n }), fc.integer({ min: 0, max: 18 }))
      .map(([units, digits]) => {
        const cut = units - (units % 10n ** BigInt(digits));
        return toAmount(new Exact(String(cut)).div('1e18'));
      });
    const property = fc.property(decimal, decimal, decimal, decimal, (a, b, amount, other) => {
      fc.pre(a !== '0' || b !== '0');
      const total = new Exact(amount).times(a).plus(new Exact(other).times(b));
      expect(weightedAverage({ amount, weight: a }, { amount: other, weight: b })).toBe(
        toAmount(total.div(new Exact(a).plus(b))),
      );
    });
    fc.assert(property, { seed: SEED, numRuns: 2000 });
  });
});
