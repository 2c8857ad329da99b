-- Accounts, their heads, the change log, idempotency keys and API keys.

create table accounts (
  id text primary key check (id ~ '^([a-z][a-z0-9-]{0,39}|_system)$'),
  name text not null,
  hedge_mode boolean not null default false,
  created_at timestamptz not null default clock_timestamp()
);

-- One narrow row an account: it is locked in the last statement of every unit of work, so it holds
-- nothing that anyone needs earlier. The free space keeps its updates on one page (HOT).
create table account_heads (
  account_id text primary key references accounts (id),
  seq bigint not null default 0 check (seq >= 0),
  -- The last seq of each entity, as strings: {"position": "41"}. Cached results are valid by it.
  entity_seqs jsonb not null default '{}',
  hash bytea not null default '\x',
  at timestamptz not null default clock_timestamp(),
  trading_state text not null default 'ACTIVE'
    check (trading_state in ('ACTIVE', 'REDUCING', 'HALTED')),
  -- Names this history: cursors carry it, a restored database gets new ones.
  epoch text not null default substr(replace(gen_random_uuid()::text, '-', ''), 1, 8)
) with (fillfactor = 20);

create table changes (
  account_id text not null,
  seq bigint not null,
  at timestamptz not null,
  entity text not null,
  operation text not null
    check (operation in ('INSERT', 'UPDATE', 'DELETE', 'MARK', 'DENIED')),
  ids text[] not null,
  count int not null,
  before jsonb,
  after jsonb,
  actor text not null,
  request_id text not null,
  operation_name text,
  row_hash bytea not null,
  hash bytea not null,
  primary key (account_id, seq)
);

-- The history of one row. Batches name many ids and are not part of it.
create index changes_by_id on changes (account_id, (ids[1]), seq) where count = 1;

create table idempotency_keys (
  subject text not null,
  key text not null,
  request_hash bytea not null,
  operation_name text,
  response text not null,
  is_shortened boolean not null,
  commits jsonb not null,
  committed_at timestamptz not null,
  primary key (subject, key)
);
-- Compressing a response would take place under the lock of the head.
alter table idempotency_keys alter column response set storage external;
create index idempotency_keys_by_age on idempotency_keys (committed_at);

create table api_keys (
  id text primary key check (id ~ '^[A-Za-z0-9]{8,32}$'),
  name text not null,
  role text not null check (role in ('VIEWER', 'ANALYST', 'BOT', 'OPERATOR', 'ADMIN')),
  -- Empty: every account, for an ADMIN or OPERATOR.
  accounts text[] not null,
  secret_hash bytea not null,
  created_at timestamptz not null,
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz
);

-- Which cluster and timeline this history was written on; another one means it was restored.
create table database_identity (
  is_only boolean primary key default true check (is_only),
  system_identifier text not null,
  timeline_id bigint not null
);

insert into accounts (id, name) values ('_system', 'System'), ('main', 'Main');
insert into account_heads (account_id) values ('_system'), ('main');

-- What a change is worth in the chain: everything a reader may rely on but its place.
create function change_row_hash(
  account_id text, entity text, operation text, ids text[], count int,
  before jsonb, after jsonb, actor text, request_id text, operation_name text
) returns bytea
language sql immutable parallel safe
return sha256(convert_to(
  jsonb_build_array(
    account_id, entity, operation, ids, count, before::text, after::text,
    actor, request_id, operation_name)::text,
  'UTF8'));

-- The link of the chain: the change before, this change, its place and its instant.
create function change_hash(previous bytea, row_hash bytea, seq bigint, at timestamptz)
returns bytea
language sql immutable parallel safe
return sha256(
  previous || row_hash || int8send(seq)
  || int8send((extract(epoch from at) * 1000000)::bigint));

-- The last statement of a unit of work. Row hashes are made before the heads are locked, because
-- every transaction of the account waits from the lock to the commit.
--
-- states: {"main": {"expected": "ACTIVE", "next": "HALTED"}}, both optional. When the state is no
-- longer the expected one the whole unit has to run again: SQLSTATE TW001.
create function append_changes(
  new_changes json, actor text, request_id text, operation_name text, states json,
  idempotency_subject text, idempotency_key text, request_hash bytea,
  response text, is_response_shortened boolean
) returns table (account_id text, seq bigint, transaction_id text)
language plpgsql
as $$
#variable_conflict use_column
declare
  prepared changes[];
  accounts text[];
  row_hashes bytea[];
  seqs bigint[] := '{}';
  ats timestamptz[] := '{}';
  hashes bytea[] := '{}';
  heads text[];
  head account_heads;
  committed jsonb := '[]';
  next_index int := 1;
  expected text;
  next_at timestamptz;
begin
  select array_agg(
           row(item.a, null, null, item.e, item.o, item.i, item.n, item.b, item.f,
             append_changes.actor, append_changes.request_id, append_changes.operation_name,
             change_row_hash(item.a, item.e, item.o, item.i, item.n, item.b, item.f,
               append_changes.actor, append_changes.request_id, append_changes.operation_name),
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
    while next_index <= cardinality(accounts) and accounts[next_index] = head.account_id loop
      head.seq := head.seq + 1;
      head.hash := change_hash(head.hash, row_hashes[next_index], head.seq, next_at);
      seqs := seqs || head.seq;
      ats := ats || next_at;
      hashes := hashes || head.hash;
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
      transaction_id := pg_current_xact_id()::text;
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
      join unnest(seqs, ats, hashes) with ordinality as place (seq, at, hash, place)
        using (place);

  if idempotency_key is not null then
    insert into idempotency_keys
      values (idempotency_subject, idempotency_key, append_changes.request_hash,
        append_changes.operation_name, append_changes.response, is_response_shortened, committed,
        clock_timestamp());
  end if;

  -- A unit without changes still needs the name of its transaction to settle a lost COMMIT.
  if committed = '[]' then
    account_id := null;
    seq := null;
    transaction_id := pg_current_xact_id()::text;
    return next;
  end if;
end
$$;
