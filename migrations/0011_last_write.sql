-- What a unit writes last is sent together with its changes and COMMIT, so that nobody can look at
-- its rows before: the statement itself asks both of these.

-- Sets how long the rest of the transaction waits for a lock. When anything makes the driver send the
-- statement once more, outside its transaction, it must not write: SQLSTATE TW003.
create function begin_last_write(unit_transaction text, wait_ms int) returns boolean
language plpgsql
as $$
begin
  if pg_current_xact_id()::text <> unit_transaction then
    raise exception 'another transaction than that of the unit' using errcode = 'TW003';
  end if;
  return set_config('lock_timeout', wait_ms::text, true) is not null;
end
$$;

-- Called where fewer rows were written than there are. The caller learns by SQLSTATE TW004 and the
-- name of the part, given as the constraint, which it was.
create function refuse_write(part text) returns int
language plpgsql
as $$
begin
  raise exception 'not every row was written' using errcode = 'TW004', constraint = part;
end
$$;
