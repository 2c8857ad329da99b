import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../datasources/embedded-postgres.ts';

/** Its data live as long as the server: losing them at a crash costs a test run nothing. */
const FAST_SETTINGS = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  autovacuum: 'off',
  max_connections: '200',
};

/** A server of its own in a temporary folder; `stop` removes the folder as well. */
export async function startTestPostgres(): Promise<EmbeddedPostgres> {
  const home = await mkdtemp(join(tmpdir(), 'tradewind-test-'));
  await chmod(home, 0o755);
  const remove = () => rm(home, { recursive: true, force: true });
  try {
    const server = await startEmbeddedPostgres({ home, settings: FAST_SETTINGS });
    const stop = async () => {
      await server.stop();
      await remove();
    };
    return { ...server, stop };
  } catch (error) {
    await remove();
    throw error;
  }
}
