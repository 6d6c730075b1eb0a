-- Who was seen writing a capability's tables past its fence: one row each time that it was looked at, and counts of what
-- was seen, which stay when it is looked at again.

create table strangler.observation (
    id bigint generated always as identity primary key,
    capability text not null,
    stack text not null,                -- in whose database: the owner's
    who text not null,
    reason text not null,
    began_at timestamptz not null default clock_timestamp(),
    until timestamptz not null,         -- when it ends by itself
    ended_at timestamptz,               -- null: it goes on
    why text,                           -- it ended
    on_at timestamptz not null default clock_timestamp(), -- when every writer was found to be told of, last
    gaps integer not null default 0,    -- how often that was not so
    missed_s float8 not null default 0  -- and for how long, in all
);
create unique index observation_under_way on strangler.observation (capability) where ended_at is null;

-- Up to which message of a database's WAL is counted: after a crash some come again.
create table strangler.observed_to (
    capability text not null,
    stack text not null,
    lsn pg_lsn not null,
    primary key (capability, stack)
);

create table strangler.observed_writer (
    capability text not null,
    stack text not null,
    kind text not null,                 -- route, task, command, job, application
    name text not null,
    role text not null,                 -- of the database
    number bigint not null,             -- of statements
    first_at timestamptz not null,
    last_at timestamptz not null,
    tables text[] not null,
    operations text[] not null,
    sample text not null,               -- one statement, without its values
    primary key (capability, stack, kind, name, role)
);

-- Transactions that wrote two capabilities.
create table strangler.observed_both (
    capability text not null,
    stack text not null,
    kind text not null, name text not null, role text not null, -- who wrote this one
    other text not null,
    other_kind text not null, other_name text not null, other_role text not null, -- and who the other one
    number bigint not null,             -- of transactions
    first_at timestamptz not null,
    last_at timestamptz not null,
    primary key (capability, stack, kind, name, role, other, other_kind, other_name, other_role)
);

-- Writers from outside that are known, and will meet the fence.
create table strangler.allowed_writer (
    capability text not null,
    kind text not null,
    name text not null,
    who text not null,
    reason text not null,
    at timestamptz not null default clock_timestamp(),
    primary key (capability, kind, name)
);
