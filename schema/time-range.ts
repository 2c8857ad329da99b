import { builder } from './builder.ts';

export const TimeRange = builder.inputType('TimeRange', {
  description: 'from <= t < to; either may be left out.',
  fields: (t) => ({
    from: t.field({ type: 'DateTime' }),
    to: t.field({ type: 'DateTime' }),
  }),
});
