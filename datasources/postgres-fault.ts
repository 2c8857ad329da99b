import { FatalError } from '../errors.ts';
import type { PostgresTarget } from './postgres.ts';
import { readTarget } from './postgres-target.ts';

/**
 * Why a start could not talk to its database, as one sentence that says what to do; an error that
 * has no such sentence comes back as it is. No sentence holds a password.
 */
export function toStartFault(error: unknown, target: PostgresTarget): unknown {
  if (error instanceof FatalError) return error;
  const { endpoint, user, database } = readTarget(target);
  const where = endpoint.path ?? `${endpoint.host}:${endpoint.port}`;
  const sentence = sentenceOf(codeOf(error), { where, host: endpoint.host, user, database });
  return sentence === null ? error : new FatalError(sentence, { cause: error });
}

interface Names {
  readonly where: string;
  readonly host: string;
  readonly user: string;
  readonly database: string;
}

function sentenceOf(code: string, { where, host, user, database }: Names): string | null {
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return `No PostgreSQL answers at ${where}: start it, or correct DATABASE_URL.`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `The host ${host} of DATABASE_URL is not known here: correct its name.`;
    case 'CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `${where} cannot be reached: check DATABASE_URL, the network and the firewall.`;
    case '28P01':
    case '28000':
      return `PostgreSQL at ${where} refuses the user ${user}: check the password in DATABASE_URL.`;
    case '3D000':
      return `PostgreSQL at ${where} has no database ${database}: create it, or correct DATABASE_URL.`;
    case '42501':
      return `The user ${user} may not create tables in ${database}: make it the owner.`;
    case '53300':
      return `PostgreSQL at ${where} has no connection left: raise max_connections.`;
    case '57P03':
      return `PostgreSQL at ${where} is still starting: try again.`;
    default:
      return isTlsFault(code)
        ? `The certificate of ${where} is not trusted (${code}): add sslrootcert to DATABASE_URL, or ` +
            'switch TLS off with DATABASE_TLS=off where the network itself is trusted.'
        : null;
  }
}

function isTlsFault(code: string): boolean {
  return /CERT|^ERR_TLS|^ERR_SSL|^UNABLE_TO_/.test(code);
}

/** Of the error or of what caused it; an aggregate has one error for each address of the host. */
function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return 'cause' in error ? codeOf(error.cause) : '';
}
