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
