-- Rules over the figures of a process, and the alerts they have raised. Changes of both stand in
-- the log of _system.

create table alert_rules (
  name text primary key check (name ~ '^[a-z][a-z0-9-]{0,63}$'),
  metric text not null,
  comparison text not null check (comparison in ('>', '>=', '<', '<=')),
  threshold double precision not null check (threshold between -1e300 and 1e300),
  severity text not null check (severity in ('INFO', 'WARNING', 'CRITICAL')),
  for_seconds int not null check (for_seconds between 0 and 86400),
  enabled boolean not null,
  runbook text not null
);

create table alerts (
  id uuid primary key,
  rule text not null,
  -- The process it is about: <host name>:<process id>.
  node text not null,
  severity text not null check (severity in ('INFO', 'WARNING', 'CRITICAL')),
  state text not null check (state in ('FIRING', 'RESOLVED')),
  value double precision not null,
  threshold double precision not null,
  message text not null,
  fired_at timestamptz not null,
  resolved_at timestamptz,
  acknowledged_by text,
  -- When its process last said that it lasts: one that has gone says nothing any more.
  seen_at timestamptz not null,
  check ((state = 'RESOLVED') = (resolved_at is not null))
);
-- An episode is one alert.
create unique index alerts_firing on alerts (rule, node) where state = 'FIRING';

insert into alert_rules
  (name, metric, comparison, threshold, severity, for_seconds, enabled, runbook)
select name, metric, comparison, threshold, severity, for_seconds, true,
  'docs/runbooks.md#' || name
from (values
  ('breaker-open', 'breakers.notClosed', '>', 0, 'CRITICAL', 10),
  ('cache-away', 'cache.available', '<', 1, 'WARNING', 60),
  ('error-rate', 'queries.errorRate', '>', 0.05, 'WARNING', 60),
  ('event-loop', 'process.eventLoopMsP99', '>', 200, 'WARNING', 60),
  ('feed-away', 'feed.connected', '<', 1, 'CRITICAL', 30),
  ('memory', 'process.rssBytes', '>', 1073741824, 'WARNING', 300),
  ('queue-interactive', 'pools.interactive.waiting', '>', 100, 'WARNING', 30),
  ('queue-trading', 'pools.trading.waiting', '>', 100, 'CRITICAL', 30),
  ('slow-statements', 'queries.msP99', '>', 1000, 'WARNING', 300)
) as seed (name, metric, comparison, threshold, severity, for_seconds);
