-- Positions, trades, marks and candles. Every amount refuses NaN; numeric(38,18) refuses Infinity.

create table positions (
  account_id text not null references accounts (id),
  id uuid not null,
  exchange text not null,
  symbol text not null,
  side text not null check (side in ('LONG', 'SHORT')),
  status text not null check (status in ('OPEN', 'CLOSED', 'LIQUIDATED')),
  -- What is still open: 0 once closed.
  quantity numeric(38, 18) not null check (quantity >= 0 and quantity <> 'NaN'),
  entry_price numeric(38, 18) not null check (entry_price > 0 and entry_price <> 'NaN'),
  stop_loss_price numeric(38, 18) check (stop_loss_price > 0 and stop_loss_price <> 'NaN'),
  take_profit_price numeric(38, 18) check (take_profit_price > 0 and take_profit_price <> 'NaN'),
  leverage numeric(38, 18) not null default 1 check (leverage > 0 and leverage <> 'NaN'),
  realized_pnl numeric(38, 18) not null default 0 check (realized_pnl <> 'NaN'),
  fees numeric(38, 18) not null default 0 check (fees <> 'NaN'),
  strategy text,
  close_reason text,
  stop_triggered_at timestamptz,
  stop_triggered_kind text check (stop_triggered_kind in ('STOP_LOSS', 'TAKE_PROFIT')),
  metadata jsonb,
  opened_at timestamptz not null,
  updated_at timestamptz not null,
  closed_at timestamptz,
  version int not null default 1,
  client_id text,
  -- Of the item that opened it: a repeat with the same content is a replay.
  item_hash bytea,
  -- Fills of orders move it; closePositions must not.
  has_fills boolean not null default false,
  primary key (account_id, id),
  unique (account_id, client_id),
  check ((status = 'OPEN') = (closed_at is null)),
  check ((status = 'OPEN') = (quantity > 0))
) with (fillfactor = 80);

create unique index positions_open
  on positions (account_id, exchange, symbol, side) where status = 'OPEN';
create index positions_by_symbol on positions (account_id, symbol, id);

create table trades (
  account_id text not null references accounts (id),
  id uuid not null,
  exchange text not null,
  symbol text not null,
  side text not null check (side in ('BUY', 'SELL')),
  price numeric(38, 18) not null check (price > 0 and price <> 'NaN'),
  quantity numeric(38, 18) not null check (quantity > 0 and quantity <> 'NaN'),
  commission numeric(38, 18) not null default 0 check (commission <> 'NaN'),
  commission_asset text,
  realized_pnl numeric(38, 18) not null default 0 check (realized_pnl <> 'NaN'),
  exchange_trade_id text,
  strategy text,
  executed_at timestamptz not null,
  order_id uuid,
  position_id uuid not null,
  opened_position_id uuid,
  -- Of the close that wrote it, where it had one.
  client_id text,
  item_hash bytea,
  primary key (account_id, id),
  unique (account_id, exchange, symbol, order_id, exchange_trade_id),
  unique (account_id, client_id)
);
create index trades_by_position on trades (account_id, position_id, id);

-- The newest price of an instrument as an account saw it; a position's mark is read from here.
create table marks (
  account_id text not null references accounts (id),
  exchange text not null,
  symbol text not null,
  price numeric(38, 18) not null check (price > 0 and price <> 'NaN'),
  at timestamptz not null,
  primary key (account_id, exchange, symbol)
) with (fillfactor = 50);

-- Market data belongs to no account; its changes stand in the log of _system.
create table candles (
  exchange text not null,
  symbol text not null,
  interval text not null,
  open_time timestamptz not null,
  open numeric(38, 18) not null check (open > 0 and open <> 'NaN'),
  high numeric(38, 18) not null check (high >= greatest(open, close) and high <> 'NaN'),
  low numeric(38, 18) not null check (low > 0 and low <= least(open, close) and low <> 'NaN'),
  close numeric(38, 18) not null check (close > 0 and close <> 'NaN'),
  volume numeric(38, 18) not null check (volume >= 0 and volume <> 'NaN'),
  primary key (exchange, symbol, interval, open_time)
);
