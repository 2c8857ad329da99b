-- What a unit writes last is sent together with its changes and COMMIT, so that nobody can look at
-- its count before: the statement itself calls this where a count is not the expected one. The
-- caller learns by SQLSTATE TW004 and the name of the part, given as the constraint, which it was.
create function refuse_write(part text) returns int
language plpgsql
as $$
begin
  raise exception 'not every row was written' using errcode = 'TW004', constraint = part;
end
$$;
