/** Decides what is worth a place in a cache. */
export interface Admission {
  /**
   * Whether to keep what was made under this key: everything, as long as some of it is asked for
   * again; else, as of somebody who reads one thing after the other, only what is asked for twice.
   */
  admits(key: string): boolean;
  /** Told when something that was kept is asked for, the first time. */
  repeated(): void;
}

/** Of the last so many that were made, in between which it is decided anew. */
const WINDOW = 1000;
/** So many of them have to be asked for again. */
const REPEATED_MIN = WINDOW / 100;
/** A power of two. What was asked for is forgotten when another one comes to its place. */
const PLACES = 16_384;
/** Of a key: more would not tell more keys apart. */
const MARKED_LENGTH = 8;

/** Keys have to begin with a hash. It begins by keeping everything. */
export function createAdmission(): Admission {
  // Numbers in one block: to remember is to leave nothing to be collected.
  const asked = new Int32Array(PLACES);
  let isSelective = false;
  let made = 0;
  let repeated = 0;
  return {
    admits(key) {
      if (made === WINDOW) {
        isSelective = repeated < REPEATED_MIN;
        made = 0;
        repeated = 0;
      }
      made += 1;
      const mark = markOf(key);
      const place = mark & (PLACES - 1);
      const isRepeated = asked[place] === mark;
      asked[place] = mark;
      if (isRepeated) repeated += 1;
      return isRepeated || !isSelective;
    },
    repeated() {
      repeated += 1;
    },
  };
}

/** Two keys of one mark are rare, and cost no more than a place in the cache. */
function markOf(key: string): number {
  let mark = 0;
  for (let index = 0; index < MARKED_LENGTH; index += 1) {
    mark = (Math.imul(mark, 31) + key.charCodeAt(index)) | 0;
  }
  return mark;
}
