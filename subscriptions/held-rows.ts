import { AppError } from '../errors.ts';

/** Holds what was read at once until slow clients have taken it, all together within a bound. */
export interface RowHolder {
  /** Rows that are held now. */
  readonly size: number;
  /**
   * Gives the rows one by one, and forgets each. When more are held in all than may be, those that
   * are held longest are given up; the newest are kept, however many.
   *
   * @throws AppError SLOW_CONSUMER, while iterating, when these rows were given up for others
   */
  hold<Row>(rows: readonly Row[]): Generator<Row, void>;
}

interface Held {
  left: number;
  giveUp(): void;
}

/** `rowsMax` is the bound of all that hold. */
export function createRowHolder(rowsMax: number): RowHolder {
  const all = new Set<Held>();
  let size = 0;

  function leave(held: Held): void {
    if (all.delete(held)) size -= held.left;
  }

  /** `left` is taken from its end. */
  function* deliver<Row>(left: Row[]): Generator<Row, void> {
    let isGivenUp = false;
    const held: Held = {
      left: left.length,
      giveUp() {
        isGivenUp = true;
        left.length = 0;
        leave(held);
      },
    };
    for (const oldest of all) {
      if (size + held.left <= rowsMax) break;
      oldest.giveUp();
    }
    all.add(held);
    size += held.left;
    try {
      for (let row = left.pop(); row !== undefined; row = left.pop()) {
        held.left -= 1;
        size -= 1;
        yield row;
      }
      if (isGivenUp) throw slowConsumer();
    } finally {
      leave(held);
    }
  }

  return {
    get size() {
      return size;
    },
    hold: (rows) => deliver([...rows].reverse()),
  };
}

function slowConsumer(): AppError {
  return new AppError(
    'SLOW_CONSUMER',
    'The snapshot was taken so slowly that it was given up for those of others.',
    { retryAfterMs: 1000 },
  );
}
