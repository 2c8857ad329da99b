import { readFileSync } from 'node:fs';
import { isIP, connect as netConnect, type Socket } from 'node:net';
import { userInfo } from 'node:os';
import { connect as tlsConnect } from 'node:tls';
import { FatalError } from '../errors.ts';
import type { PostgresTarget } from './postgres.ts';
import { readWholeMessages } from './whole-messages.ts';

/** Where the socket goes, and whom the other end must prove to be. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** Not null: a Unix socket; host and port do not count. */
  readonly path: string | null;
  /** Null: without TLS. */
  readonly tls: { readonly ca: string | undefined } | null;
}

export interface ReadTarget {
  readonly endpoint: Endpoint;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** Further parameters of the session that the URL asks for. */
  readonly parameters: Readonly<Record<string, string>>;
}

export type TrackSocket = (socket: Socket) => void;

const PORT = 5432;
const NO_HOST = /^(postgres(?:ql)?:\/\/[^/?#]*@)\//;
const URL_PARAMETERS = ['sslmode', 'sslrootcert', 'host', 'application_name', 'options'];

/**
 * The target in its parts.
 *
 * @throws FatalError one sentence without the URL, for it may hold a password
 */
export function readTarget(target: PostgresTarget): ReadTarget {
  if (target.url === undefined) {
    if (target.socketPath === undefined) {
      throw new FatalError('No database to connect to: neither a URL nor a socket was given.');
    }
    const user = target.user ?? userInfo().username;
    return {
      endpoint: { host: 'localhost', port: PORT, path: target.socketPath, tls: null },
      user,
      password: '',
      database: target.database ?? user,
      parameters: {},
    };
  }
  const url = parseUrl(target.url);
  const query = readQuery(url);
  const user = target.user ?? (decode(url.username) || userInfo().username);
  return {
    endpoint: readEndpoint(url, query, target.isTlsOn),
    user,
    password: decode(url.password),
    database: target.database ?? (decode(url.pathname.slice(1)) || user),
    parameters: Object.fromEntries(
      [...query].filter(([name]) => name === 'application_name' || name === 'options'),
    ),
  };
}

function parseUrl(text: string): URL {
  // A Unix socket needs no host, which URLs that have a user do.
  const url = URL.parse(text.replace(NO_HOST, '$1localhost/'));
  if (url === null || !['postgres:', 'postgresql:'].includes(url.protocol)) {
    throw new FatalError(
      'DATABASE_URL is not a URL of one PostgreSQL server: postgres://user:password@host:5432/database is needed.',
    );
  }
  return url;
}

function readQuery(url: URL): ReadonlyMap<string, string> {
  for (const name of url.searchParams.keys()) {
    if (!URL_PARAMETERS.includes(name)) {
      throw new FatalError(
        `DATABASE_URL has the parameter ${name}, which is not known: ${URL_PARAMETERS.join(', ')} are.`,
      );
    }
  }
  return new Map(url.searchParams);
}

function readEndpoint(url: URL, query: ReadonlyMap<string, string>, isTlsOn: boolean): Endpoint {
  // An IPv6 address stands in brackets in a URL only.
  const host =
    query.get('host') ?? (decode(url.hostname).replace(/^\[(.*)\]$/, '$1') || 'localhost');
  const port = url.port === '' ? PORT : Number(url.port);
  const mode = query.get('sslmode');
  if (mode !== undefined && mode !== 'disable' && mode !== 'verify-full') {
    throw new FatalError(
      `DATABASE_URL asks for sslmode=${mode}, which does not verify who answers: use verify-full, ` +
        'with sslrootcert for a private authority, or disable.',
    );
  }
  const path = host.startsWith('/') ? `${host}/.s.PGSQL.${port}` : null;
  const isWanted =
    mode === undefined ? isTlsOn && path === null && !isLoopback(host) : mode !== 'disable';
  const tls = isWanted && path === null ? { ca: readAuthority(query.get('sslrootcert')) } : null;
  return { host, port, path, tls };
}

function readAuthority(file: string | undefined): string | undefined {
  if (file === undefined || file === 'system') return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new FatalError(`The sslrootcert of DATABASE_URL cannot be read: ${file}.`, {
      cause: error,
    });
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A lone % is meant as it stands.
    return text;
  }
}

const KEEP_ALIVE_MS = 30_000;
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const SSL_ACCEPTED = 83;

/**
 * A socket that is connected and, where the endpoint asks for it, verified. `track` gets it at once.
 * An error of it that nobody listens for would end the process, so it always has a listener.
 */
export async function openSocket(endpoint: Endpoint, track?: TrackSocket): Promise<Socket> {
  const { host, port, path, tls } = endpoint;
  // TLS reads its own socket.
  const reading =
    tls === null ? { onread: readWholeMessages((bytes) => void socket.emit('data', bytes)) } : {};
  const socket: Socket =
    path === null ? netConnect({ host, port, ...reading }) : netConnect({ path, ...reading });
  socket.on('error', ignore);
  track?.(socket);
  await happens(socket, 'connect');
  socket.setNoDelay(true);
  if (path === null) socket.setKeepAlive(true, KEEP_ALIVE_MS);
  return tls === null ? socket : secure(socket, host, tls.ca, track);
}

async function secure(
  socket: Socket,
  host: string,
  ca: string | undefined,
  track?: TrackSocket,
): Promise<Socket> {
  const answer = readOnce(socket);
  socket.write(SSL_REQUEST);
  // More than this byte would come from somebody in between who speaks before TLS does.
  const bytes = await answer;
  if (bytes.length !== 1 || bytes[0] !== SSL_ACCEPTED) {
    socket.destroy();
    throw new Error('the server does not offer TLS');
  }
  const secured = tlsConnect({
    socket,
    // A name for the certificate; SNI takes no addresses.
    host,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca }),
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
  });
  secured.on('error', ignore);
  track?.(secured);
  await happens(secured, 'secureConnect');
  return secured;
}

function happens(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, resolve);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed while it was opened')));
  });
}

function readOnce(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    socket.once('data', resolve);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the server closed the connection before TLS')));
  });
}

function ignore(): void {
  // Who waits for this socket is told by its own listener.
}
