import { hash as digest, randomBytes } from 'node:crypto';
import type { ChangeRecorder } from './change-recorder.ts';
import { instantOf } from './instant.ts';
import { fragment, type Sql } from './sql.ts';

/** A key as it may be shown: of its secret only a SHA-256 is kept. */
export interface ApiKey {
  readonly id: string;
  readonly name: string;
  readonly role: 'VIEWER' | 'ANALYST' | 'BOT' | 'OPERATOR' | 'ADMIN';
  /** Empty: every account. */
  readonly accounts: readonly string[];
  readonly createdAt: string;
  readonly expiresAt: string | null;
  /** About a minute late. */
  readonly lastUsedAt: string | null;
  readonly revokedAt: string | null;
}

export interface StoredApiKey extends ApiKey {
  /** Hex. */
  readonly secretHash: string;
}

/** A key at its birth, the only time its secret exists here. */
export interface IssuedApiKey {
  readonly key: StoredApiKey;
  /** `tw_<id>_<secret>`: what a client sends. */
  readonly token: string;
}

const TOKEN = /^tw_([A-Za-z0-9]{8,32})_([A-Za-z0-9_-]{32,128})$/;
const ALPHABET = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789';

/** A new key with a random id and secret (256 bits). */
export function issueApiKey(
  values: Pick<ApiKey, 'name' | 'role' | 'accounts' | 'expiresAt'>,
  createdAt: string,
): IssuedApiKey {
  const id = Array.from(randomBytes(12), (byte) => ALPHABET.charAt(byte % ALPHABET.length)).join(
    '',
  );
  const secret = randomBytes(32).toString('hex');
  const key = {
    ...values,
    id,
    createdAt,
    lastUsedAt: null,
    revokedAt: null,
    secretHash: hashSecret(secret),
  };
  return { key, token: `tw_${id}_${secret}` };
}

/** The id and the hash of the secret in a token, or null where the text is none. */
export function readToken(
  text: string,
): { readonly id: string; readonly secretHash: string } | null {
  const [, id, secret] = TOKEN.exec(text) ?? [];
  return id === undefined || secret === undefined ? null : { id, secretHash: hashSecret(secret) };
}

function hashSecret(secret: string): string {
  return digest('sha256', secret, 'hex');
}

const columns = fragment`
  id, name, role, accounts, created_at, expires_at, last_used_at, revoked_at`;

export function createApiKeyRepository(sql: Sql, recorder: ChangeRecorder) {
  return {
    /** All keys with the hashes of their secrets, oldest first. */
    async list(): Promise<readonly StoredApiKey[]> {
      return sql<StoredApiKey>`
        /* apiKeys.list */
        select ${columns}, encode(secret_hash, 'hex') as secret_hash
        from api_keys order by created_at, id`;
    },

    async findById(id: string): Promise<ApiKey | null> {
      const [row] = await sql<ApiKey>`
        /* apiKeys.findById */
        select ${columns} from api_keys where id = ${id}`;
      return row ?? null;
    },

    /** How many are neither revoked nor expired. */
    async countCurrent(): Promise<number> {
      const [row] = await sql<{ count: number }>`
        /* apiKeys.countCurrent */
        select count(*)::int as count from api_keys
        where revoked_at is null and (expires_at is null or expires_at > ${recorder.at})`;
      return row?.count ?? 0;
    },

    async insert(key: StoredApiKey): Promise<void> {
      await sql`
        /* apiKeys.insert */
        insert into api_keys (id, name, role, accounts, secret_hash, created_at, expires_at)
        values (${key.id}, ${key.name}, ${key.role}, ${key.accounts}::text[],
          decode(${key.secretHash}, 'hex'), ${key.createdAt}, ${key.expiresAt})`;
      const { secretHash: _secretHash, ...after } = key;
      recorder.record({
        accountId: '_system',
        entity: 'apiKey',
        operation: 'INSERT',
        ids: [key.id],
        before: null,
        after,
      });
    },

    /** Waits for other nodes that make the first key; true while there is none. */
    async lockWhileEmpty(): Promise<boolean> {
      await sql`
        /* apiKeys.lock */
        select pg_advisory_xact_lock(hashtextextended('tradewind.api-keys', 0))`;
      const rows = await sql`/* apiKeys.findFirst */ select id from api_keys limit 1`;
      return rows.length === 0;
    },

    /** Writes when keys were used last (Unix milliseconds by id), without a change; of how many. */
    async touchMany(uses: ReadonlyMap<string, number>): Promise<number> {
      if (uses.size === 0) return 0;
      const items = [...uses].map(([id, timeMs]) => ({ id, at: instantOf(timeMs) }));
      const { count } = await sql`
        /* apiKeys.touchMany */
        update api_keys as k set last_used_at = greatest(k.last_used_at, i.at)
        from json_to_recordset(${JSON.stringify(items)}::text::json) as i (id text, at timestamptz)
        where k.id = i.id`;
      return count;
    },

    /** Revokes a key that is not yet; false where there is none. */
    async revoke(id: string): Promise<boolean> {
      const rows = await sql`
        /* apiKeys.revoke */
        update api_keys set revoked_at = ${recorder.at} where id = ${id} and revoked_at is null`;
      if (rows.count === 0) return false;
      recorder.record({
        accountId: '_system',
        entity: 'apiKey',
        operation: 'UPDATE',
        ids: [id],
        after: { id, revokedAt: recorder.at },
      });
      return true;
    },
  };
}
