-- Signals, balances and settings, and what maintenance needs.

create table signals (
  account_id text not null references accounts (id),
  id uuid not null,
  exchange text not null,
  symbol text not null,
  type text not null check (type in ('LONG', 'SHORT', 'CLOSE_LONG', 'CLOSE_SHORT', 'NEUTRAL')),
  status text not null check (status in ('ACTIVE', 'PROCESSED', 'EXPIRED')),
  strength float8 not null check (strength between 0 and 1),
  confidence float8 not null check (confidence between 0 and 1),
  strategy text not null,
  suggested_price numeric(38, 18) check (suggested_price > 0 and suggested_price <> 'NaN'),
  suggested_stop_loss numeric(38, 18)
    check (suggested_stop_loss > 0 and suggested_stop_loss <> 'NaN'),
  suggested_take_profit numeric(38, 18)
    check (suggested_take_profit > 0 and suggested_take_profit <> 'NaN'),
  suggested_quantity numeric(38, 18)
    check (suggested_quantity > 0 and suggested_quantity <> 'NaN'),
  metadata jsonb,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  processed_at timestamptz,
  primary key (account_id, id),
  check (expires_at > created_at),
  check ((status = 'PROCESSED') = (processed_at is not null))
) with (fillfactor = 80);

-- What a new signal is compared with; an expired one no longer stands in the way.
create index signals_by_key on signals (account_id, exchange, symbol, strategy, type, created_at)
  where status <> 'EXPIRED';
-- What maintenance looks for each minute, in all accounts.
create index signals_active_by_expiry on signals (expires_at) where status = 'ACTIVE';
create index signals_by_symbol on signals (account_id, symbol, id);

create table balances (
  account_id text not null references accounts (id),
  exchange text not null,
  asset text not null,
  -- Below 0 where the exchange lends.
  free numeric(38, 18) not null check (free <> 'NaN'),
  locked numeric(38, 18) not null check (locked >= 0 and locked <> 'NaN'),
  updated_at timestamptz not null,
  primary key (account_id, exchange, asset)
) with (fillfactor = 80);

create table settings (
  account_id text not null references accounts (id),
  key text not null,
  -- Null: removed. The row stays a while, so that its version goes on counting and a writer who
  -- saw the old value cannot overwrite a new one by chance.
  value jsonb,
  version int not null,
  updated_at timestamptz not null,
  primary key (account_id, key)
) with (fillfactor = 80);
create index settings_removed on settings (updated_at) where value is null;

-- The last change that retention deleted: the chain of what is kept starts after it.
create table change_checkpoints (
  account_id text primary key references accounts (id),
  seq bigint not null,
  hash bytea not null,
  at timestamptz not null
);

-- For retention alone; candles are written about in the order of their time.
create index candles_by_time on candles using brin (open_time);
