-- Orders, the instruments that operators register, and what trades need beside orders.

-- Reference data of exchanges: rows are put here in SQL (docs/instruments.md). An instrument that is
-- not registered is traded all the same, without these checks.
create table instruments (
  exchange text not null,
  symbol text not null,
  -- Prices and quantities of new orders are multiples of these; null: any.
  tick_size numeric(38, 18) check (tick_size > 0 and tick_size <> 'NaN'),
  step_size numeric(38, 18) check (step_size > 0 and step_size <> 'NaN'),
  base_asset text,
  -- What profits and fees of its positions are counted in.
  quote_asset text,
  primary key (exchange, symbol)
);

create table orders (
  account_id text not null references accounts (id),
  id uuid not null,
  exchange text not null,
  symbol text not null,
  side text not null check (side in ('BUY', 'SELL')),
  type text not null check (type in ('MARKET', 'LIMIT', 'STOP_MARKET', 'STOP_LIMIT',
    'TAKE_PROFIT_MARKET', 'TAKE_PROFIT_LIMIT', 'TRAILING_STOP')),
  time_in_force text not null check (time_in_force in ('GTC', 'IOC', 'FOK', 'GTX', 'GTD')),
  status text not null check (status in ('PENDING', 'OPEN', 'PARTIALLY_FILLED', 'FILLED',
    'CANCELED', 'REJECTED', 'EXPIRED')),
  price numeric(38, 18) check (price > 0 and price <> 'NaN'),
  stop_price numeric(38, 18) check (stop_price > 0 and stop_price <> 'NaN'),
  quantity numeric(38, 18) not null check (quantity > 0 and quantity <> 'NaN'),
  filled_quantity numeric(38, 18) not null default 0
    check (filled_quantity >= 0 and filled_quantity <> 'NaN'),
  average_price numeric(38, 18) check (average_price > 0 and average_price <> 'NaN'),
  stop_loss_price numeric(38, 18) check (stop_loss_price > 0 and stop_loss_price <> 'NaN'),
  take_profit_price numeric(38, 18) check (take_profit_price > 0 and take_profit_price <> 'NaN'),
  trail_by numeric(38, 18) check (trail_by > 0 and trail_by <> 'NaN'),
  leverage numeric(38, 18) not null check (leverage > 0 and leverage <> 'NaN'),
  reduce_only boolean not null,
  position_side text not null check (position_side in ('LONG', 'SHORT')),
  expires_at timestamptz,
  client_order_id text not null,
  exchange_order_id text,
  strategy text,
  reason text,
  metadata jsonb,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  closed_at timestamptz,
  version int not null default 1,
  -- The position that its last fill moved or opened.
  position_id uuid,
  -- Of the item that placed it: a repeat with the same content is a replay.
  item_hash bytea not null,
  primary key (account_id, id),
  unique (account_id, client_order_id),
  check (filled_quantity <= quantity),
  check ((filled_quantity = quantity) = (status = 'FILLED')),
  check ((filled_quantity > 0) = (average_price is not null)),
  check ((filled_quantity > 0) = (position_id is not null)),
  check (filled_quantity = 0 or status not in ('PENDING', 'OPEN', 'REJECTED')),
  check (filled_quantity > 0 or status <> 'PARTIALLY_FILLED'),
  check ((status in ('PENDING', 'OPEN', 'PARTIALLY_FILLED')) = (closed_at is null))
) with (fillfactor = 80);
create index orders_by_symbol on orders (account_id, symbol, id);
create index orders_open
  on orders (account_id, id) where status in ('PENDING', 'OPEN', 'PARTIALLY_FILLED');

-- Looks a fill up by its order and the exchange's id, which is what a repeat is recognized by.
create index trades_by_order
  on trades (account_id, order_id, exchange_trade_id) where order_id is not null;
create index trades_by_symbol on trades (account_id, symbol, id);
-- The other side of a flip.
create index trades_by_opened_position
  on trades (account_id, opened_position_id, id) where opened_position_id is not null;

-- The state machine of orders; it stands in the UPDATE itself. A late fill makes a closed order
-- FILLED when it is full.
create function order_may_become(state text, next text) returns boolean
language sql immutable parallel safe
return state = next or case state
  when 'PENDING' then
    next in ('OPEN', 'PARTIALLY_FILLED', 'FILLED', 'CANCELED', 'REJECTED', 'EXPIRED')
  when 'OPEN' then next in ('PARTIALLY_FILLED', 'FILLED', 'CANCELED', 'REJECTED', 'EXPIRED')
  when 'PARTIALLY_FILLED' then next in ('FILLED', 'CANCELED', 'EXPIRED')
  when 'CANCELED' then next = 'FILLED'
  when 'EXPIRED' then next = 'FILLED'
  else false
end;
