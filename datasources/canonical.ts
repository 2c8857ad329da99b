/**
 * The same JSON value with the members of each object in the order of their names, so that equal
 * values have equal texts. What has no members is given back as it is.
 */
export function canonical(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(canonical);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(members.map(([name, member]) => [name, canonical(member)]));
}

/** One text for equal JSON values, whatever the order of their members. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(canonical(value));
}
