/** A seeded stream of random numbers: the same seed and stream name, the same numbers anywhere. */
export interface Random {
  /** Uniform in [0, 1), 32 bits. */
  next(): number;
  /** About normal: mean 0, deviation 1, never beyond ±6. */
  normal(): number;
}

/**
 * An independent stream for each name, so that drawing more in one place moves nothing elsewhere.
 *
 * Only additions, multiplications and integer operations are used: `Math.log` and `Math.cos` may
 * differ in the last bit between engines, and generated data must not.
 */
export function createRandom(seed: number, stream: string): Random {
  const next = sfc32(seed, stream);
  return {
    next,
    normal() {
      // The sum of twelve uniforms has variance 1.
      let sum = -6;
      for (let draw = 0; draw < 12; draw += 1) {
        sum += next();
      }
      return sum;
    },
  };
}

/** Chris Doty-Humphrey's small fast counting generator, 128 bits of state. */
function sfc32(seed: number, stream: string): () => number {
  let a = seed >>> 0;
  let b = Math.floor(seed / 2 ** 32) >>> 0;
  let c = fnv1a(stream);
  let counter = 1;
  const step = () => {
    const result = (a + b + counter) >>> 0;
    counter = (counter + 1) >>> 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) >>> 0;
    c = (((c << 21) | (c >>> 11)) + result) >>> 0;
    return result / 2 ** 32;
  };
  // Neighbouring seeds start with almost the same state; the first rounds spread the difference.
  for (let round = 0; round < 20; round += 1) {
    step();
  }
  return step;
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}
