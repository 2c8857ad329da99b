-- The last statement of a unit of work, as append_changes of 0001 with these differences. That one
-- stays for nodes of the release before; a later migration drops it.
--
-- COMMIT is sent in the same breath, so that nobody waits for the head while the unit's answer goes
-- to its node and back. When anything makes the driver send it once more, outside its transaction,
-- it must not append: SQLSTATE TW003. And since nothing can be taken back once it is sent, it does
-- not wait for the head longer than the unit has time.
--
-- It tells the caller what the new rows have of it: their instant, their hashes and the hash they
-- follow. The node that commits them then needs not read them to send them on.
--
-- A single change, which is most of what people wait for, takes half as long from the lock to the
-- end: without the arrays that many of them need.
create function append_unit(
  unit_transaction text, wait_ms int,
  new_changes json, actor text, request_id text, operation_name text, states json,
  idempotency_subject text, idempotency_key text, request_hash bytea,
  response text, is_response_shortened boolean
) returns table (
  account_id text, seq bigint, at timestamptz, previous_hash text, hashes text[]
)
language plpgsql
as $$
#variable_conflict use_column
declare
  -- What is longer is read from the table by the feed of the node that wrote it, too.
  told_max constant int := 32;
  prepared changes[];
  accounts text[];
  row_hashes bytea[];
  seqs bigint[] := '{}';
  ats timestamptz[] := '{}';
  chain bytea[] := '{}';
  first_index int;
  before_hash bytea;
  heads text[];
  head account_heads;
  committed jsonb := '[]';
  next_index int := 1;
  expected text;
  next_at timestamptz;
  one record;
  one_hash bytea;
begin
  if pg_current_xact_id()::text <> unit_transaction then
    raise exception 'another transaction than that of the unit' using errcode = 'TW003';
  end if;
  perform set_config('lock_timeout', wait_ms::text, true);

  if json_array_length(new_changes) = 1 and states::text = '{}' then
    select * into one from json_to_record(new_changes -> 0)
      as (a text, e text, o text, i text[], n int, b jsonb, f jsonb);
    one_hash := change_row_hash(one.a, one.e, one.o, one.i, one.n, one.b, one.f,
      append_unit.actor, append_unit.request_id, append_unit.operation_name);
    select * into head from account_heads where account_id = one.a for update;
    if not found then
      raise exception 'unknown account in a change' using errcode = 'TW002';
    end if;
    account_id := one.a;
    seq := head.seq + 1;
    at := greatest(clock_timestamp(), head.at);
    previous_hash := encode(head.hash, 'hex');
    head.hash := change_hash(head.hash, one_hash, append_unit.seq, append_unit.at);
    hashes := array[encode(head.hash, 'hex')];
    update account_heads
       set seq = append_unit.seq, hash = head.hash, at = append_unit.at,
           entity_seqs = entity_seqs || jsonb_build_object(one.e, append_unit.seq::text)
     where account_id = one.a;
    insert into changes
      values (one.a, append_unit.seq, append_unit.at, one.e, one.o, one.i, one.n, one.b,
        one.f, append_unit.actor, append_unit.request_id, append_unit.operation_name,
        one_hash, head.hash);
    if idempotency_key is not null then
      insert into idempotency_keys
        values (idempotency_subject, idempotency_key, append_unit.request_hash,
          append_unit.operation_name, append_unit.response, is_response_shortened,
          jsonb_build_array(
            jsonb_build_object('account', one.a, 'seq', append_unit.seq::text)),
          clock_timestamp());
    end if;
    return next;
    return;
  end if;

  select array_agg(
           row(item.a, null, null, item.e, item.o, item.i, item.n, item.b, item.f,
             append_unit.actor, append_unit.request_id, append_unit.operation_name,
             change_row_hash(item.a, item.e, item.o, item.i, item.n, item.b, item.f,
               append_unit.actor, append_unit.request_id, append_unit.operation_name),
             null)::changes
           order by item.a, item.place)
    into prepared
    from rows from (
      json_to_recordset(new_changes)
        as (a text, e text, o text, i text[], n int, b jsonb, f jsonb)
    ) with ordinality as item (a, e, o, i, n, b, f, place);

  select array_agg(item.account_id order by item.place),
         array_agg(item.row_hash order by item.place)
    into accounts, row_hashes
    from unnest(prepared) with ordinality as item
      (account_id, seq, at, entity, operation, ids, count, before, after, actor, request_id,
       operation_name, row_hash, hash, place);

  select array_agg(name order by name) into heads from (
    select unnest(accounts) union select json_object_keys(states)
  ) as touched (name);

  for head in
    select * from account_heads where account_id = any(heads) order by account_id for update
  loop
    expected := states -> head.account_id ->> 'expected';
    if expected is not null and expected <> head.trading_state then
      raise exception 'trading state changed' using errcode = 'TW001';
    end if;
    next_at := greatest(clock_timestamp(), head.at);
    first_index := next_index;
    before_hash := head.hash;
    while next_index <= cardinality(accounts) and accounts[next_index] = head.account_id loop
      head.seq := head.seq + 1;
      head.hash := change_hash(head.hash, row_hashes[next_index], head.seq, next_at);
      seqs := seqs || head.seq;
      ats := ats || next_at;
      chain := chain || head.hash;
      next_index := next_index + 1;
      head.at := next_at;
    end loop;
    update account_heads
       set seq = head.seq, hash = head.hash, at = head.at,
           trading_state = coalesce(states -> head.account_id ->> 'next', head.trading_state),
           entity_seqs = head.entity_seqs || coalesce((
             select jsonb_object_agg(last.entity, last.seq::text) from (
               select item.entity, max(place.seq) as seq
                 from unnest(prepared) with ordinality as item
                   (account_id, seq, at, entity, operation, ids, count, before, after, actor,
                    request_id, operation_name, row_hash, hash, place)
                 join unnest(seqs) with ordinality as place (seq, place) using (place)
                where item.account_id = head.account_id
                group by item.entity) as last), '{}')
     where account_id = head.account_id;
    if head.account_id = any(accounts) then
      account_id := head.account_id;
      seq := head.seq;
      at := next_at;
      previous_hash := encode(before_hash, 'hex');
      hashes := null;
      if next_index - first_index <= told_max then
        hashes := array(select encode(link, 'hex') from unnest(chain[first_index:]) as link);
      end if;
      committed := committed
        || jsonb_build_object('account', head.account_id, 'seq', head.seq::text);
      return next;
    end if;
  end loop;

  if next_index <= coalesce(cardinality(accounts), 0) then
    raise exception 'unknown account in a change' using errcode = 'TW002';
  end if;

  insert into changes
    select item.account_id, place.seq, place.at, item.entity, item.operation, item.ids,
           item.count, item.before, item.after, item.actor, item.request_id,
           item.operation_name, item.row_hash, place.hash
      from unnest(prepared) with ordinality as item
        (account_id, seq, at, entity, operation, ids, count, before, after, actor, request_id,
         operation_name, row_hash, hash, place)
      join unnest(seqs, ats, chain) with ordinality as place (seq, at, hash, place)
        using (place);

  if idempotency_key is not null then
    insert into idempotency_keys
      values (idempotency_subject, idempotency_key, append_unit.request_hash,
        append_unit.operation_name, append_unit.response, is_response_shortened, committed,
        clock_timestamp());
  end if;
end
$$;
