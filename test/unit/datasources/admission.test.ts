import { hash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type Admission, createAdmission } from '../../../datasources/admission.ts';

const keyOf = (name: number | string) => hash('sha256', String(name), 'base64');

/** How many of so many keys that were never seen before are admitted. */
function admitted(admission: Admission, count: number, name: string): number {
  let kept = 0;
  for (let index = 0; index < count; index += 1) {
    if (admission.admits(keyOf(`${name} ${index}`))) kept += 1;
  }
  return kept;
}

describe('what is admitted', () => {
  it('is everything at first', () => {
    expect(admitted(createAdmission(), 1000, 'first')).toBe(1000);
  });

  it('is what is asked for twice, once hardly anything was asked for again', () => {
    const admission = createAdmission();
    admitted(admission, 1000, 'first');
    expect(admitted(admission, 1000, 'second')).toBe(0);
    expect(admission.admits(keyOf('second 999'))).toBe(true);
  });

  it('is everything as long as one in a hundred of what was kept is given again', () => {
    const admission = createAdmission();
    for (let window = 0; window < 3; window += 1) {
      expect(admitted(admission, 1000, `window ${window}`)).toBe(1000);
      for (let index = 0; index < 10; index += 1) admission.repeated();
    }
    admitted(admission, 1000, 'none given');
    expect(admitted(admission, 1, 'next')).toBe(0);
  });

  it('is everything again once enough is asked for twice', () => {
    const admission = createAdmission();
    admitted(admission, 1000, 'first');
    expect(admitted(admission, 990, 'second')).toBe(0);
    expect(admitted(admission, 10, 'second')).toBe(10);
    expect(admitted(admission, 1000, 'third')).toBe(1000);
  });

  it('is what a write has made old, when it is asked for once more', () => {
    const admission = createAdmission();
    admission.admits(keyOf('dashboard'));
    admitted(admission, 1500, 'others');
    expect(admission.admits(keyOf('dashboard'))).toBe(true);
  });
});
