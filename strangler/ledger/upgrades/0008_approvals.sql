-- What one person has proposed and another has to confirm before it is done.

create table strangler.proposal (
    id bigint generated always as identity primary key,
    capability text not null,
    action text not null,
    who text not null check (who <> ''),
    reason text not null check (reason <> ''),
    asked jsonb not null default '{}',  -- what exactly
    epoch bigint not null,              -- of the capability when it was proposed: of another one it is no proposal
    at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    confirmed_by text,
    confirmed_at timestamptz,
    check ((confirmed_by is null) = (confirmed_at is null)),
    check (confirmed_by <> who)
);
-- One at a time of each kind: who proposes anew takes the place of the one before.
create unique index proposal_open on strangler.proposal (capability, action) where confirmed_at is null;
