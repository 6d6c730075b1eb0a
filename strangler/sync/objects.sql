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
