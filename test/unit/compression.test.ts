import { expect, it } from 'vitest';
import { acceptsGzip } from '../../compression.ts';

it.each([
  ['gzip', true],
  ['br, GZIP;q=0.5', true],
  ['x-gzip', true],
  ['gzip;q=0', false],
  ['gzip; q=0.000, br', false],
  ['gzip;q=0.001', true],
  ['br, deflate', false],
  ['identity', false],
  ['', false],
  [null, false],
  [undefined, false],
])('Accept-Encoding %o takes gzip: %s', (header, expected) => {
  expect(acceptsGzip(header)).toBe(expected);
});
