-- What the sync keeps in each of the two databases, in a schema of its own. It is run again at each start: everything
-- here may be there already.
create schema if not exists strangler_sync;

-- One row a stream, in the database that it writes to. `lsn` is the watermark: everything that the source committed up to
-- there is here, and nothing after it.
create table if not exists strangler_sync.stream (
  name text primary key,
  epoch bigint not null default 0,
  lsn pg_lsn not null,
  system text not null,
  timeline integer not null,
  publication jsonb not null,
  mapping text not null, -- a digest: rows that another mapping made do not fit
  copying boolean not null default true,
  copied_at pg_lsn, -- the last chunk saw nothing after it
  fetches integer not null default 0, -- how often rows were fetched: the applier begins anew after each
  heartbeat_at timestamptz,
  heartbeat_xid bigint,
  applied_at timestamptz,
  transactions bigint not null default 0,
  changes bigint not null default 0,
  stopped text,
  given_up text
);

-- Keys that a chunk of the backfill must not bring: of rows that are gone, and of rows that changed before they were
-- here, which are fetched at its end; with the transactions of which one did so.
create table if not exists strangler_sync.tombstone (
  stream text not null references strangler_sync.stream (name) on delete cascade,
  target text not null,
  key text[] not null,
  gone boolean not null,
  xids bigint[] not null,
  fetched_at pg_lsn, -- what was fetched has seen nothing after it
  snapshot text -- by which it was fetched: what that has seen is in the row
);
create index if not exists tombstone_of_table on strangler_sync.tombstone (stream, target);
create index if not exists tombstone_amended on strangler_sync.tombstone (stream, target) where not gone;

-- Which rows each batch changed, so that they alone can be compared. Complete for what the source committed after
-- `recorded_from`, as long as `recorded_to` is the watermark: what applied without recording has left it behind.
-- Only where it is missing: to alter a table waits for whatever a stream applies, and everybody else then waits, too.
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
