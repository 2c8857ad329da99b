-- What the market did: outcomes of horizons, recorded by clients or evaluated from candles.

-- Of the item that recorded it: a repeat with the same content is a replay. Null while it is
-- pending, and where it was evaluated from candles.
alter table prediction_horizons add column outcome_hash bytea;

-- How long a candle lasts: `15m`, `1h`, `1mo`.
create function candle_interval(name text) returns interval
language sql immutable parallel safe
return case
  when name like '%mo' then make_interval(months => left(name, -2)::int)
  when name like '%w' then make_interval(weeks => left(name, -1)::int)
  when name like '%d' then make_interval(days => left(name, -1)::int)
  when name like '%h' then make_interval(hours => left(name, -1)::int)
  when name like '%m' then make_interval(mins => left(name, -1)::int)
  when name like '%s' then make_interval(secs => left(name, -1)::int)
end;

-- Predictions with horizons that nobody has looked at yet, by when the next of these is over: a row
-- says "look at the horizons of this prediction that are over at due_at or later". It may say so
-- of horizons that have an outcome already. What it finds by this index is bounded by what is due.
create table outcome_queue (
  account_id text not null,
  due_at timestamptz not null,
  prediction_id uuid not null,
  primary key (account_id, due_at, prediction_id)
);

-- Horizons that are over but lack a candle, by the candle they wait for: they are not looked at
-- again until it comes.
create table outcome_gaps (
  account_id text not null,
  close_time timestamptz not null,
  exchange text not null,
  symbol text not null,
  interval text not null,
  prediction_id uuid not null,
  horizon_minutes int not null,
  due_at timestamptz not null,
  primary key (account_id, close_time, exchange, symbol, interval, prediction_id, horizon_minutes)
);

-- How far an account has followed the candles in the log of _system. Where retention deleted
-- changes that it had not followed, its gaps are looked at once more, in the order of their
-- candles; swept_to is how far that has come, null when there is nothing to do.
create table outcome_cursors (
  account_id text primary key references accounts (id),
  seq bigint not null,
  swept_to timestamptz
);

-- An outcome changes its row once. With room on its page the new version needs no new entry in the
-- primary key, and stays beside the horizons it is read with.
create or replace function create_prediction_partitions(month date) returns boolean
language plpgsql
as $$
declare
  first_day date := date_trunc('month', month)::date;
  suffix text := to_char(first_day, '_YYYY_MM');
  from_id uuid := uuid_at(first_day::timestamp at time zone 'UTC');
  to_id uuid := uuid_at((first_day + interval '1 month') at time zone 'UTC');
  parent text;
  has_created boolean := false;
begin
  perform pg_advisory_xact_lock(hashtextextended('tradewind.partitions', 0));
  foreach parent in array array['predictions', 'prediction_horizons'] loop
    -- Not by to_regclass: after the wait it may still answer from a catalog that is out of date.
    if not exists (
      select from pg_class
      where relname = parent || suffix and relnamespace = current_schema()::regnamespace
    ) then
      execute format('create table %I (like %I including all) with (fillfactor = %s)',
        parent || suffix, parent, case parent when 'predictions' then 100 else 70 end);
      execute format('alter table %I attach partition %I for values from (%L) to (%L)',
        parent, parent || suffix, from_id, to_id);
      has_created := true;
    end if;
  end loop;
  return has_created;
end
$$;

do $$
declare
  partition regclass;
begin
  for partition in
    select inhrelid from pg_inherits where inhparent = 'prediction_horizons'::regclass
  loop
    execute format('alter table %s set (fillfactor = 70)', partition);
  end loop;
end
$$;

-- Those that were stored before. It reads every horizon once; bots may go on writing meanwhile only
-- because migrations run before a server starts.
insert into outcome_queue
select account_id, min(p.predicted_at + h.horizon_minutes * interval '1 minute'), p.id
from predictions p
join prediction_horizons h using (account_id)
where h.prediction_id = p.id and h.resolved_at is null
group by account_id, p.id;
