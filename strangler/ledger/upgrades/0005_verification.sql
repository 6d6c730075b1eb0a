-- What comparisons of both sides found: the last few of each capability, and the last of all its rows.

create table strangler.verification (
    id bigint generated always as identity primary key,
    capability text not null,
    at timestamptz not null default clock_timestamp(),  -- when it ended
    part text,                          -- which rows were compared; null: all
    equal boolean not null,
    rows bigint not null,               -- compared, as the monolith has them
    differing bigint not null,          -- found so far: there may be more where it stopped looking
    seconds float8 not null
);
create index verification_of_capability on strangler.verification (capability, id desc);
