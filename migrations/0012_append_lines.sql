-- append_unit of 0009 with less work for each change, to the same promise: the documents come as
-- lines of JSON beside the list of changes, an empty line where there is none. Inside the list each
-- of them was read twice, once for its end and once for what it says. That of 0009 stays for nodes of
-- the release before; a later migration drops it.

-- As it was, to the byte: what is hashed is the text of a JSON array, which need not be built first.
create or replace function change_row_hash(
  account_id text, entity text, operation text, ids text[], count int,
  before jsonb, after jsonb, actor text, request_id text, operation_name text
) returns bytea
language sql immutable parallel safe
return sha256(convert_to(
  json_build_array(
    account_id, entity, operation, to_jsonb(ids), count, before::text, after::text,
    actor, request_id, operation_name)::text,
  'UTF8'));

create function append_unit(
  unit_transaction text, wait_ms int,
  new_changes json, befores text, afters text,
  actor text, request_id text, operation_name text, states json,
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
  heads text[];
  head_name text;
  head account_heads;
  link changes;
  own_count int;
  -- The entity of the change before, and the last seqs of those that end before it.
  entity text;
  ends jsonb;
  expected text;
  one record;
  one_hash bytea;
  committed jsonb := '[]';
begin
  if pg_current_xact_id()::text <> unit_transaction then
    raise exception 'another transaction than that of the unit' using errcode = 'TW003';
  end if;
  expected := set_config('lock_timeout', wait_ms::text, true);

  if json_array_length(new_changes) = 1 and states::text = '{}' then
    select a, e, o, i, n, nullif(befores, '')::jsonb as b, nullif(afters, '')::jsonb as f into one
      from json_to_record(new_changes -> 0) as (a text, e text, o text, i text[], n int);
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

  -- In their order: a function is read from its beginning to its end.
  select array_agg(
           row(item.a, null, null, item.e, item.o, item.i, item.n, item.b, item.f,
             append_unit.actor, append_unit.request_id, append_unit.operation_name,
             change_row_hash(item.a, item.e, item.o, item.i, item.n, item.b, item.f,
               append_unit.actor, append_unit.request_id, append_unit.operation_name),
             null)::changes),
         array_agg(distinct item.a)
    into prepared, heads
    from (
      select a, e, o, i, n, nullif(b, '')::jsonb as b, nullif(f, '')::jsonb as f
        from rows from (
          json_to_recordset(new_changes) as (a text, e text, o text, i text[], n int),
          string_to_table(befores, E'\n'),
          string_to_table(afters, E'\n')
        ) as line (a, e, o, i, n, b, f)
       -- Each document is read once, though it is used twice.
      offset 0
    ) as item;
  prepared := coalesce(prepared, '{}');
  heads := coalesce(heads, '{}');
  if states::text <> '{}' then
    heads := array(
      select name from (select unnest(heads) union select json_object_keys(states)) as touched (name)
      order by name);
  end if;

  foreach head_name in array heads loop
    select * into head from account_heads where account_id = head_name for update;
    if not found then
      raise exception 'unknown account in a change' using errcode = 'TW002';
    end if;
    expected := states -> head_name ->> 'expected';
    if expected <> head.trading_state then
      raise exception 'trading state changed' using errcode = 'TW001';
    end if;

    own_count := 0;
    entity := null;
    ends := '{}';
    previous_hash := encode(head.hash, 'hex');
    hashes := '{}';
    head.at := greatest(clock_timestamp(), head.at);
    for place in 1 .. cardinality(prepared) loop
      link := prepared[place];
      continue when link.account_id <> head_name;
      own_count := own_count + 1;
      head.seq := head.seq + 1;
      head.hash := change_hash(head.hash, link.row_hash, head.seq, head.at);
      link.seq := head.seq;
      link.at := head.at;
      link.hash := head.hash;
      prepared[place] := link;
      if entity <> link.entity then
        ends := ends || jsonb_build_object(entity, (head.seq - 1)::text);
      end if;
      entity := link.entity;
      if own_count <= told_max then
        hashes := hashes || encode(head.hash, 'hex');
      end if;
    end loop;

    if own_count > 0 then
      ends := ends || jsonb_build_object(entity, head.seq::text);
    end if;
    update account_heads
       set seq = head.seq, hash = head.hash, at = head.at, entity_seqs = head.entity_seqs || ends,
           trading_state = coalesce(states -> head_name ->> 'next', head.trading_state)
     where account_id = head_name;
    if own_count > 0 then
      account_id := head_name;
      seq := head.seq;
      at := head.at;
      if own_count > told_max then
        hashes := null;
      end if;
      committed := committed
        || jsonb_build_object('account', head_name, 'seq', head.seq::text);
      return next;
    end if;
  end loop;

  insert into changes select * from unnest(prepared);

  if idempotency_key is not null then
    insert into idempotency_keys
      values (idempotency_subject, idempotency_key, append_unit.request_hash,
        append_unit.operation_name, append_unit.response, is_response_shortened, committed,
        clock_timestamp());
  end if;
end
$$;
