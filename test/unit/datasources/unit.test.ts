import { describe, expect, it } from 'vitest';
import { createUnit } from '../../../datasources/unit.ts';

describe('the trading state that a unit expects', () => {
  it('is the first one: it runs again when a later field found another', () => {
    const { handle, states } = createUnit('key:test');
    handle.expectTradingState('main', 'ACTIVE');
    handle.expectTradingState('main', 'ACTIVE');
    expect(() => handle.expectTradingState('main', 'REDUCING')).toThrow(
      expect.objectContaining({ code: 'SERIALIZATION_FAILURE', isRetryable: true }),
    );
    expect(states.get('main')).toEqual({ expected: 'ACTIVE' });
  });

  it('is that of each account for itself', () => {
    const { handle, states } = createUnit('key:test');
    handle.expectTradingState('main', 'ACTIVE');
    handle.expectTradingState('other', 'HALTED');
    expect([...states.keys()]).toEqual(['main', 'other']);
  });

  it('is not asked for once the unit sets one itself', () => {
    const { handle, states } = createUnit('key:test');
    handle.expectTradingState('main', 'ACTIVE');
    expect(handle.ownTradingState('main')).toBeNull();
    handle.setTradingState('main', 'HALTED');
    handle.expectTradingState('main', 'HALTED');
    expect(handle.ownTradingState('main')).toBe('HALTED');
    expect(states.get('main')).toEqual({ expected: 'ACTIVE', next: 'HALTED' });
  });
});
