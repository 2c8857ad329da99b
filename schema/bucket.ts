import { builder } from './builder.ts';

const Fill = builder.enumType('Fill', {
  description: 'What a bucket without rows shows.',
  values: {
    NONE: { description: 'It is left out.' },
    NULL: { description: 'It is there, and its values are null.' },
    ZERO: { description: 'Sums and counts are 0; levels stay where they were.' },
    PREVIOUS: {
      description:
        'Each value of the last bucket that has rows, null before the first. A repeated sum is not ' +
        'to be added up.',
    },
  } as const,
});

/** How a series is cut. */
export const BucketInput = builder.inputType('BucketInput', {
  description:
    'Buckets by the clock and the calendar of a time zone, each [at, next at). Up to 15m every one ' +
    'has its length. Above, one begins when the clock on the wall reads a multiple of its size: an ' +
    'hour that the clock repeats is two buckets of 1h, one that it leaves out is none, and a day has ' +
    '23 or 25 hours when the clock is changed. 1w begins on Monday.',
  fields: (t) => ({
    size: t.string({ required: true, description: '1m 5m 15m 1h 4h 1d 1w 1mo' }),
    timeZone: t.string({
      defaultValue: 'UTC',
      description:
        'UTC, or an IANA name like Europe/Berlin; abbreviations and offsets are refused.',
    }),
    fill: t.field({ type: Fill, defaultValue: 'ZERO' }),
  }),
});
