import { describe, expect, it } from 'vitest';
import { generateFrames, type MarketStep, predictFrames } from '../../../../cli/demo/market.ts';
import { createScoreboard } from '../../../../cli/demo/scoreboard.ts';

const startMs = Date.UTC(2025, 0, 1);

describe('createScoreboard', () => {
  it('has no rate before the first horizon is over', () => {
    const scoreboard = createScoreboard();
    const [first, second] = takeSteps(2);
    if (first) scoreboard.add(first);
    expect(scoreboard.hitRate()).toBeNull();
    if (second) scoreboard.add(second);
    expect(scoreboard.hitRate()).not.toBeNull();
  });

  it('finds the hit rate of the model', () => {
    const scoreboard = createScoreboard();
    for (const step of takeSteps(1_000)) scoreboard.add(step);
    expect(scoreboard.hitRate()).toBeGreaterThan(0.46);
    expect(scoreboard.hitRate()).toBeLessThan(0.48);
  });

  it('leaves open what falls into a gap', () => {
    const scoreboard = createScoreboard();
    const steps = takeSteps(50).map((step) => ({
      ...step,
      openTimeMs: startMs + (step.openTimeMs - startMs) * 97,
    }));
    for (const step of steps) scoreboard.add(step);
    expect(scoreboard.hitRate()).toBeNull();
  });
});

function takeSteps(count: number): MarketStep[] {
  return [...predictFrames(generateFrames({ seed: 1, startMs }), 1).take(count)];
}
