import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { startTestServer, type TestServer } from '../support/server.ts';
import { connectSocket, openSocket, type TestSocket } from '../support/socket.ts';

/** Limits of time, whose clock the tests move: a server for each, as its own timers stand still. */

const INIT_MS = 5000;
const PING_MS = 12_000;

let server: TestServer;

beforeEach(async () => {
  server = await startTestServer();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
});

afterEach(async () => {
  vi.useRealTimers();
  await server.stop();
});

/** Its answer comes after whatever the client had to say before. */
async function roundTrip(socket: TestSocket): Promise<void> {
  socket.send({ type: 'ping' });
  expect((await socket.next()).type).toBe('pong');
}

it('closes a socket that does not say who it is within 5 s', async () => {
  const socket = await openSocket(server);
  await roundTrip(socket);
  vi.advanceTimersByTime(INIT_MS - 1);
  await roundTrip(socket);
  vi.advanceTimersByTime(1);
  expect((await socket.closed).code).toBe(4408);
});

it('leaves a socket alone that has said who it is', async () => {
  const socket = await connectSocket(server);
  vi.advanceTimersByTime(INIT_MS);
  await roundTrip(socket);
  socket.close();
});

it('pings every 12 s, and cuts a client that does not answer until the next', async () => {
  const mute = await openSocket(server, { autoPong: false });
  const alive = await connectSocket(server);
  mute.send({ type: 'connection_init', payload: { authorization: `Bearer ${server.key}` } });
  expect((await mute.next()).type).toBe('connection_ack');
  vi.advanceTimersByTime(PING_MS);
  await roundTrip(alive);
  await roundTrip(mute);
  vi.advanceTimersByTime(PING_MS);
  expect((await mute.closed).code).toBe(1006);
  await roundTrip(alive);
  alive.close();
});
