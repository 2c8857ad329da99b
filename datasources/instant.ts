/**
 * Instants are strings of one width, `2026-11-23T04:46:08.123456Z`: UTC, six fraction digits.
 * So they compare as text, and no microsecond is lost on the way.
 */

const RFC3339 =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))$/;

/** The instant of an RFC 3339 text in the one form, or null. More than six digits must be zeros. */
export function parseInstant(text: string): string | null {
  const match = RFC3339.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second, fraction = '', zulu, sign, offHour, offMinute] =
    match;
  if (/[1-9]/.test(fraction.slice(6))) return null;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return null;
  const local = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  // Date.parse rolls 30 February over: the day it gives back is then another one.
  if (Number.isNaN(local) || new Date(local).getUTCDate() !== Number(day)) return null;
  let offsetMs = 0;
  if (zulu === undefined) {
    if (Number(offHour) > 23 || Number(offMinute) > 59) return null;
    offsetMs = (Number(offHour) * 60 + Number(offMinute)) * 60_000 * (sign === '-' ? -1 : 1);
  }
  const utc = new Date(local - offsetMs);
  const utcYear = utc.getUTCFullYear();
  if (utcYear < 1 || utcYear > 9999) return null;
  return `${utc.toISOString().slice(0, 19)}.${fraction.slice(0, 6).padEnd(6, '0')}Z`;
}

/** Unix milliseconds of an instant in the one form; microseconds are cut off. */
export function millisecondsOf(instant: string): number {
  return Date.parse(`${instant.slice(0, 23)}Z`);
}

/** The instant of Unix milliseconds. */
export function instantOf(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 23)}000Z`;
}
