import { randomUUID } from 'node:crypto';

/** The columns that a call of `stringifyInPieces` has met so far; null while none runs. */
let met: JsonText[] | null = null;
let marker = '';

/**
 * JSON that the database made, as it came. `stringifyInPieces` passes its bytes on; whatever else
 * makes JSON of it gets the same value, at the price of parsing it.
 */
export class JsonText {
  /** One after the other. */
  readonly pieces: readonly Buffer[];

  constructor(...pieces: readonly Buffer[]) {
    this.pieces = pieces;
  }

  get length(): number {
    return this.pieces.reduce((sum, piece) => sum + piece.length, 0);
  }

  toJSON(): unknown {
    if (met === null) return JSON.parse(Buffer.concat(this.pieces).toString());
    met.push(this);
    return marker;
  }
}

const COMMA = ','.charCodeAt(0);

/**
 * The items of JSON arrays, none of them empty, as one array: `[]` of none. Nothing is copied, and the
 * bytes are its own from then on. It has a byte less for each array after the first.
 */
export function joinArrays(arrays: readonly Buffer[]): JsonText {
  if (arrays.length === 0) return new JsonText(Buffer.from('[]'));
  const pieces = arrays.map((array, place) => {
    if (place > 0) array[0] = COMMA;
    return place < arrays.length - 1 ? array.subarray(0, -1) : array;
  });
  return new JsonText(...pieces);
}

/** What JSON.stringify makes of `value`, in pieces: a JsonText in it is neither parsed nor copied. */
export function stringifyInPieces(value: unknown): readonly Buffer[] {
  const { texts, text, mark } = stringifyWithMarks(value);
  // Nobody who is answered can guess the mark, so no text of theirs is taken for one.
  const between = text.split(`"${mark}"`);
  if (between.length !== texts.length + 1) throw new Error('a mark was lost');
  return between.flatMap((part, place) => {
    return [Buffer.from(part), ...(texts[place]?.pieces ?? [])];
  });
}

function stringifyWithMarks(value: unknown) {
  const texts: JsonText[] = [];
  const mark = randomUUID();
  met = texts;
  marker = mark;
  try {
    return { texts, mark, text: JSON.stringify(value) };
  } finally {
    met = null;
  }
}
