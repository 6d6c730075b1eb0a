-- What this release keeps beside a stream's watermark, and the release that began the stream did not: run at a stream's
-- start, and in a stream's target by whoever finds it missing, while others apply to it. So it creates and locks nothing
-- that is there already: whoever applies holds the stream's row, and may be about to lay a tombstone.

-- Which rows each batch changed, so that they alone can be compared. Complete for what the source committed after
-- `recorded_from`, as long as `recorded_to` is the watermark: what applied without recording has left it behind.
-- To alter the stream's table waits for whatever is being applied, and everybody else then waits, too.
do $$ begin
  if to_regclass('strangler_sync.changed') is null then
    alter table strangler_sync.stream
      add column outline jsonb, -- of the source's tables, as far as the mapping uses them
      add column recorded_from pg_lsn, add column recorded_to pg_lsn;
    create table strangler_sync.changed (
      stream text not null references strangler_sync.stream (name) on delete cascade,
      target text not null,
      lsn pg_lsn not null, -- the watermark that the batch set: no change in it is later
      number integer not null, -- of keys
      keys text -- a line each, as the source prints them, and a tab before each value; null: any row may have changed
    );
    create index changed_of_table on strangler_sync.changed (stream, target);
    -- It is bounded anyway, and to compress 10,000 keys took 2.5 ms of the 4.6 that they took to insert.
    alter table strangler_sync.changed alter column keys set storage external;
  end if;
end $$;

-- Who may touch the fence of a capability in this database: whoever acts on its epoch, and nobody on an older one.
create table if not exists strangler_sync.claim (
  capability text primary key,
  epoch bigint not null default 0,
  owner text not null default 'monolith', -- the stack that may write, or is to
  raised boolean not null default false,
  raised_at timestamptz,
  raised_on bigint, -- the epoch
  observing boolean not null default false,
  marker bigint, -- the epoch of the last marker that came from the other side, and was applied with all before it
  catalogue jsonb, -- as it was when the fence was raised
  autovacuum jsonb -- what the tables' own settings were before they were kept from autovacuum
);

-- Changes of rows that the sync applied here, for code that must run after them: one row for each reaction that is to be
-- called. Whoever calls it deletes the row in the same transaction. In the order of `id`, as each row was changed.
create table if not exists strangler_sync.reaction (
  id bigint generated always as identity primary key,
  reaction text not null, -- its name
  capability text not null,
  "table" text not null,
  op text not null check (op in ('insert', 'update', 'delete', 'later')),
  key jsonb not null,
  old jsonb, -- the columns that are told, before
  new jsonb, -- and after
  at timestamptz not null default clock_timestamp()
);
-- Beside a table that grows and empties all the time an index on its name alone would be read from its dead beginning.
do $$ begin
  if to_regclass('strangler_sync.reaction_in_order') is null then
    create index reaction_in_order on strangler_sync.reaction (reaction, id);
    alter table strangler_sync.reaction set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
  end if;
end $$;

-- What keeps a reaction from going on: kept by whoever calls it, told by `sync status`.
create table if not exists strangler_sync.reaction_trouble (
  reaction text primary key,
  change bigint not null, -- its id
  tries integer not null,
  error text not null,
  since timestamptz not null default clock_timestamp(),
  at timestamptz not null default clock_timestamp()
);

-- The trigger of a reaction, for each row; its argument says, as JSON, for whom, and which columns. It runs with the
-- rights of the sync: what a cascade deletes is deleted by the table's owner, who may not write here.
create or replace function strangler_sync.react() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  wanted constant jsonb := tg_argv[0]::jsonb;
  whole jsonb;
  before jsonb;
  after jsonb;
  key_before jsonb;
  key_after jsonb;
begin
  if tg_op <> 'INSERT' then
    whole := to_jsonb(old);
    key_before := (select jsonb_object_agg(name, whole -> name) from jsonb_array_elements_text(wanted -> 'key') as name);
    before := (select jsonb_object_agg(name, whole -> name) from jsonb_array_elements_text(wanted -> 'columns') as name);
  end if;
  if tg_op <> 'DELETE' then
    whole := to_jsonb(new);
    key_after := (select jsonb_object_agg(name, whole -> name) from jsonb_array_elements_text(wanted -> 'key') as name);
    after := (select jsonb_object_agg(name, whole -> name) from jsonb_array_elements_text(wanted -> 'columns') as name);
  end if;
  if key_before = key_after then
    if before <> after then
      insert into strangler_sync.reaction (reaction, capability, "table", op, key, old, new)
      values (wanted ->> 'reaction', wanted ->> 'capability', wanted ->> 'table', 'update', key_after, before, after);
    end if;
    return null;
  end if;
  if key_before is not null then
    insert into strangler_sync.reaction (reaction, capability, "table", op, key, old)
    values (wanted ->> 'reaction', wanted ->> 'capability', wanted ->> 'table', 'delete', key_before, before);
  end if;
  if key_after is not null then
    insert into strangler_sync.reaction (reaction, capability, "table", op, key, new)
    values (wanted ->> 'reaction', wanted ->> 'capability', wanted ->> 'table', 'insert', key_after, after);
  end if;
  return null;
end $$;
revoke execute on function strangler_sync.react() from public;
