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
  heartbeat_at timestamptz,
  applied_at timestamptz,
  transactions bigint not null default 0,
  changes bigint not null default 0,
  stopped text
);
