import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { METRIC_NAMES } from '../../../datasources/metric.ts';
import { createTestProcess } from '../../support/alerts.ts';
import { refusalOf } from '../../support/documents.ts';
import { startTestServer, type TestServer } from '../../support/server.ts';
import { openSocket } from '../../support/socket.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(() => server.stop());

const FIELDS = 'id rule severity state value threshold message firedAt resolvedAt acknowledgedBy';
const ALERTS = `query ($state: [AlertState!], $severity: [AlertSeverity!], $first: Int) {
  alerts(state: $state, severity: $severity, first: $first) { ${FIELDS} } }`;
const ACKNOWLEDGE = `mutation ($id: ID!) { acknowledgeAlert(id: $id) { ${FIELDS} } }`;
const RULES = `{ alertRules {
  name metric comparison threshold severity forSeconds enabled runbook } }`;
const PUT = `mutation ($input: PutAlertRuleInput!) { putAlertRule(input: $input) {
  name metric comparison threshold severity forSeconds enabled runbook } }`;
const HISTORY = `query ($metric: String!, $range: TimeRange!, $stepSeconds: Int) {
  metricHistory(metric: $metric, range: $range, stepSeconds: $stepSeconds) { at value } }`;

interface Alert {
  readonly id: string;
  readonly rule: string;
  readonly state: string;
  readonly acknowledgedBy: string | null;
}

async function alerts(variables: object = {}): Promise<readonly Alert[]> {
  return (await server.data<{ alerts: readonly Alert[] }>(ALERTS, variables)).alerts;
}

async function put(input: object, key = server.key) {
  return server.request<{ putAlertRule: object }>(PUT, { input }, { key });
}

/** Has a process fire by the rule of the event loop; what ends it. */
async function fire(node: string): Promise<() => Promise<void>> {
  const process = createTestProcess(server, node);
  process.loopMs = 500;
  await process.round();
  await process.round(60);
  return async () => {
    process.loopMs = 0;
    await process.round();
  };
}

describe('alertRules', () => {
  it('are there from the start, each with a metric and a runbook of its own', async () => {
    type Data = {
      readonly alertRules: readonly { name: string; metric: string; runbook: string }[];
    };
    const { alertRules } = await server.data<Data>(RULES);
    expect(alertRules.length).toBeGreaterThan(5);
    for (const { name, metric, runbook } of alertRules) {
      expect(METRIC_NAMES).toContain(metric);
      expect(runbook).toBe(`docs/runbooks.md#${name}`);
    }
  });
});

describe('putAlertRule', () => {
  const rule = { name: 'many-sockets', metric: 'feed.sockets', comparison: '>=', threshold: 1000 };

  it('makes a rule, and then changes what it names', async () => {
    const made = { ...rule, severity: 'WARNING', forSeconds: 0, enabled: true };
    expect((await put(rule)).data?.putAlertRule).toMatchObject(made);
    const change = { name: rule.name, severity: 'CRITICAL', forSeconds: 30, threshold: null };
    const changed = { ...made, severity: 'CRITICAL', forSeconds: 30 };
    expect((await put(change)).data?.putAlertRule).toMatchObject(changed);
    const { alertRules } = await server.data<{ alertRules: readonly object[] }>(RULES);
    expect(alertRules).toContainEqual(expect.objectContaining(changed));
    // The same again is no change.
    await put(change);
    const rows = await server.sql`
      select operation, before ->> 'severity' as was from changes
      where entity = 'alertRule' and ids[1] = ${rule.name} order by seq`;
    expect(rows).toMatchObject([
      { operation: 'INSERT', was: null },
      { operation: 'UPDATE', was: 'WARNING' },
    ]);
  });

  it.each([
    ['name', { ...rule, name: 'Not a name' }],
    ['metric', { ...rule, name: 'x', metric: 'feed.socks' }],
    ['metric', { name: 'x', comparison: '>', threshold: 1 }],
    ['comparison', { ...rule, name: 'x', comparison: '=' }],
    ['comparison', { name: 'x', metric: 'feed.sockets', threshold: 1 }],
    ['threshold', { ...rule, name: 'x', threshold: 1e301 }],
    ['threshold', { name: 'x', metric: 'feed.sockets', comparison: '>' }],
    ['forSeconds', { ...rule, name: 'x', forSeconds: -1 }],
    ['forSeconds', { ...rule, name: 'x', forSeconds: 86_401 }],
  ])('refuses a bad %s', async (field, input) => {
    const before = await server.inventory();
    const { code, path } = refusalOf(await put(input)).extensions;
    expect({ code, path }).toEqual({ code: 'BAD_INPUT', path: ['input', field] });
    expect(await server.inventory()).toEqual(before);
  });

  it.each(['VIEWER', 'BOT'] as const)('is not for a %s', async (role) => {
    const { token } = await server.issueKey(role, ['main']);
    expect(refusalOf(await put(rule, token)).extensions.code).toBe('FORBIDDEN');
  });
});

describe('alerts', () => {
  it('are the newest first, by state and severity, and found by their ids', async () => {
    const end = await fire('host:1');
    await fire('host:2');
    await end();
    const all = await alerts();
    expect(all.map(({ state }) => state)).toEqual(['FIRING', 'RESOLVED']);
    expect(await alerts({ state: ['RESOLVED'] })).toEqual(all.slice(1));
    expect(await alerts({ severity: ['CRITICAL'] })).toEqual([]);
    expect(await alerts({ first: 1 })).toEqual(all.slice(0, 1));
    const [first] = all;
    const NODE = `query ($id: ID!) { node(id: $id) { __typename ... on Alert { ${FIELDS} } } }`;
    expect(await server.data(NODE, { id: first?.id })).toEqual({
      node: { __typename: 'Alert', ...first },
    });
  });

  it.each([0, 501])('refuses first: %i', async (first) => {
    const refused = await server.request(ALERTS, { first });
    expect(refused.errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', path: ['first'] });
  });
});

describe('acknowledgeAlert', () => {
  it('keeps who came first', async () => {
    await fire('host:3');
    const [{ id } = { id: '' }] = await alerts({ first: 1 });
    const { token, id: keyId } = await server.issueKey('OPERATOR', []);
    type Data = { readonly acknowledgeAlert: Alert };
    const first = await server.data<Data>(ACKNOWLEDGE, { id }, { key: token });
    expect(first.acknowledgeAlert.acknowledgedBy).toBe(`key:${keyId}`);
    expect(await server.data<Data>(ACKNOWLEDGE, { id })).toEqual(first);
    const [{ count } = { count: 0 }] = await server.sql<{ count: number }[]>`
      select count(*)::int as count from changes
      where entity = 'alert' and operation = 'UPDATE' and ids[1] = ${id.split('.')[2] ?? ''}`;
    expect(count).toBe(1);
  });

  it.each([
    ['NOT_FOUND', 'alert._system.01990000-0000-7000-8000-000000000000'],
    ['BAD_INPUT', 'alert.main.01990000-0000-7000-8000-000000000000'],
    ['BAD_INPUT', 'order.main.01990000-0000-7000-8000-000000000000'],
  ])('is %s for %s', async (code, id) => {
    expect(refusalOf(await server.request(ACKNOWLEDGE, { id })).extensions.code).toBe(code);
  });

  it('is not for a BOT', async () => {
    const { token } = await server.issueKey('BOT', ['main']);
    const [{ id } = { id: '' }] = await alerts({ first: 1 });
    const refused = await server.request(ACKNOWLEDGE, { id }, { key: token });
    expect(refusalOf(refused).extensions.code).toBe('FORBIDDEN');
  });
});

describe('alertChanges', () => {
  async function follow(query: string, key: string) {
    const socket = await openSocket(server);
    socket.send({ type: 'connection_init', payload: { authorization: `Bearer ${key}` } });
    await socket.next();
    socket.send({ type: 'subscribe', id: '1', payload: { query } });
    return socket;
  }

  it('tells what fires now, and then each that changes, to a key of any account', async () => {
    await server.sql`delete from alerts`;
    await fire('host:4');
    const { token } = await server.issueKey('VIEWER', ['main']);
    const socket = await follow('subscription { alertChanges { state message } }', token);
    const next = async () => {
      const message = await socket.next('1');
      return (message.payload as { data: { alertChanges: object } }).data.alertChanges;
    };
    expect(await next()).toMatchObject({ state: 'FIRING', message: /host:4/ });
    const end = await fire('host:5');
    expect(await next()).toMatchObject({ state: 'FIRING', message: /host:5/ });
    await end();
    expect(await next()).toMatchObject({ state: 'RESOLVED', message: /host:5/ });
    socket.close();
  });

  it('leaves out what is milder', async () => {
    await server.sql`delete from alerts`;
    const query = 'subscription { alertChanges(minSeverity: CRITICAL) { severity message } }';
    const socket = await follow(query, server.key);
    await fire('host:6');
    await put({ name: 'event-loop', severity: 'CRITICAL' });
    await fire('host:7');
    expect(await socket.next('1')).toMatchObject({
      payload: { data: { alertChanges: { severity: 'CRITICAL', message: /host:7/ } } },
    });
    socket.close();
  });
});

describe('metricHistory', () => {
  type Data = { readonly metricHistory: readonly { at: string; value: number | null }[] };

  it('has what the process has measured since its start, in steps', async () => {
    const { metricHistory } = await server.data<Data>(HISTORY, {
      metric: 'process.rssBytes',
      range: {},
      stepSeconds: 60,
    });
    expect(metricHistory.length).toBeGreaterThanOrEqual(60);
    const measured = metricHistory.filter(({ value }) => value !== null);
    expect(measured.length).toBeGreaterThan(0);
    for (const { at, value } of measured) {
      expect(at).toMatch(/:00\.000000Z$/);
      expect(value).toBeGreaterThan(1e7);
    }
  });

  it.each(METRIC_NAMES)('knows %s', async (metric) => {
    await server.data<Data>(HISTORY, { metric, range: {} });
  });

  const to = '2026-01-02T00:00:00Z';
  it.each([
    ['metric', { metric: 'x', range: {} }],
    ['range', { metric: 'feed.sockets', range: { from: to, to } }],
    ['stepSeconds', { metric: 'feed.sockets', range: {}, stepSeconds: 0 }],
    ['stepSeconds', { metric: 'feed.sockets', range: { from: '2020-01-01T00:00:00Z', to } }],
  ])('refuses a bad %s', async (field, variables) => {
    const { errors } = await server.request(HISTORY, variables);
    expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_INPUT', path: [field] });
  });
});
