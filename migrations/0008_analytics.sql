-- What aggregates over trades and positions are computed with.

-- A quotient rounded half-even to 18 digits, as amounts are wherever they are divided.
create function divide_half_even(dividend numeric, divisor numeric) returns numeric
language sql immutable strict parallel safe
return (
  select case
      when twice > abs(divisor) or (twice = abs(divisor) and mod(whole, 2) <> 0)
      then whole + sign(units) * sign(divisor)
      else whole
    end * 0.000000000000000001
  from (select dividend * 1000000000000000000) as scaled (units)
  cross join lateral (select div(units, divisor)) as quotient (whole)
  cross join lateral (select 2 * abs(units - whole * divisor)) as remainder (twice)
);

-- Whether an asset is what profits of a symbol are counted in: the registered one of the instrument,
-- else the one that the symbol names (BTCUSDT ends with it; BTC-USDT-SWAP and BTC/USDT:USDT name it
-- second). No asset means that one, too.
create function is_quote_asset(asset text, symbol text, registered text) returns boolean
language sql immutable parallel safe
return case
  when asset is null then true
  when registered is not null then asset = registered
  when symbol ~ '[-/_:.]' then asset = (regexp_split_to_array(symbol, '[-/_:.]'))[2]
  else right(symbol, length(asset)) = asset
end;

-- The positions that were closed within a range. Writers of positions wait while it is built: some
-- seconds for a million of them.
create index positions_by_close on positions (account_id, closed_at) where closed_at is not null;
