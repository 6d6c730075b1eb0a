-- What a backfill has planned and done, so that it can be killed at any instant and carried on.

create table strangler.backfill_run (
    id bigint generated always as identity primary key,
    capability text not null,
    mapping text not null,              -- digest of the projections that the chunks were planned for
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    abandoned_at timestamptz            -- a run that was given up for a new one
);
-- One run at a time for each capability.
create unique index backfill_run_open on strangler.backfill_run (capability)
    where finished_at is null and abandoned_at is null;

create table strangler.backfill_chunk (
    run bigint not null references strangler.backfill_run on delete cascade,
    number integer not null,
    target text not null,
    low jsonb,                          -- keys as text, exclusive; null: from the first row
    high jsonb,                         -- inclusive; null: to the last row
    expected bigint not null,           -- rows when it was planned
    rows bigint,                        -- rows of its range in the target when it was done
    done_at timestamptz,
    error text,
    primary key (run, number)
);
