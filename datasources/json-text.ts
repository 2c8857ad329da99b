import { randomUUID } from 'node:crypto';

/** The columns that a call of `stringifyInPieces` has met so far; null while none runs. */
let met: JsonText[] | null = null;
let marker = '';

/**
 * JSON that the database made, as it came. `stringifyInPieces` passes its bytes on; whatever else
 * makes JSON of it gets the same value, at the price of parsing it.
 */
export class JsonText {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  toJSON(): unknown {
    if (met === null) return JSON.parse(this.bytes.toString());
    met.push(this);
    return marker;
  }
}

/** What JSON.stringify makes of `value`, in pieces: a JsonText in it is neither parsed nor copied. */
export function stringifyInPieces(value: unknown): readonly Buffer[] {
  const { texts, text, mark } = stringifyWithMarks(value);
  // Nobody who is answered can guess the mark, so no text of theirs is taken for one.
  const between = text.split(`"${mark}"`);
  if (between.length !== texts.length + 1) throw new Error('a mark was lost');
  return between.flatMap((part, place) => {
    const bytes = texts[place]?.bytes;
    return bytes === undefined ? [Buffer.from(part)] : [Buffer.from(part), bytes];
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
