-- Predictions and their horizons, partitioned by month through the time in their ids (UUIDv7).
-- Neither references accounts nor each other: a foreign key would be checked row by row, which
-- costs a batch of 1000 with its 4000 horizons more than storing it. The unit of work proves the
-- account (its head is locked), and both tables are written by the same operation.

create table predictions (
  account_id text not null,
  -- Time and a hash of the natural key: the primary key is the natural key's uniqueness.
  id uuid not null,
  exchange text not null,
  symbol text not null,
  interval text not null,
  model_version text not null,
  predicted_at timestamptz not null,
  price numeric(38, 18) check (price > 0 and price <> 'NaN'),
  signal text not null check (signal in ('LONG', 'SHORT', 'NEUTRAL')),
  signal_confidence float8 not null check (signal_confidence between 0 and 1),
  risk_score float8,
  inference_time_ms float8,
  features float8[],
  indicators jsonb,
  metadata jsonb,
  created_at timestamptz not null,
  item_hash bytea not null,
  primary key (account_id, id)
) partition by range (id);
create index predictions_by_symbol on predictions (account_id, symbol, id);

create table prediction_horizons (
  account_id text not null,
  prediction_id uuid not null,
  horizon_minutes int not null check (horizon_minutes > 0),
  direction text not null check (direction in ('LONG', 'SHORT', 'NEUTRAL')),
  confidence float8 not null check (confidence between 0 and 1),
  probability_long float8,
  probability_short float8,
  probability_neutral float8,
  predicted_return float8,
  actual_return float8,
  actual_direction text check (actual_direction in ('LONG', 'SHORT', 'NEUTRAL')),
  correct boolean,
  return_error float8,
  resolved_at timestamptz,
  primary key (account_id, prediction_id, horizon_minutes),
  check ((actual_return is null) = (resolved_at is null))
) partition by range (prediction_id);

-- The smallest UUIDv7 of an instant.
create function uuid_at(at timestamptz) returns uuid
language sql immutable parallel safe
return rpad(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), 32, '0')::uuid;

-- Makes the partitions of a month where they are missing; true when it made any. LIKE and ATTACH
-- do not wait for readers, as CREATE … PARTITION OF would.
create function create_prediction_partitions(month date) returns boolean
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
      execute format('create table %I (like %I including all)', parent || suffix, parent);
      execute format('alter table %I attach partition %I for values from (%L) to (%L)',
        parent, parent || suffix, from_id, to_id);
      has_created := true;
    end if;
  end loop;
  return has_created;
end
$$;
