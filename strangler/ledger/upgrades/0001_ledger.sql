-- The ledger: one row of state a capability, and every transition ever made.

create table strangler.capability (
    name text primary key,
    definition jsonb not null,          -- its routes and cohorts as last enrolled from the project's files
    epoch bigint not null check (epoch >= 0),
    state jsonb not null check ((state ->> 'epoch')::bigint = epoch)
);

-- One row, locked by whoever publishes, so that versions rise in commit order.
create table strangler.publication (
    only_row boolean primary key default true check (only_row),
    version bigint not null check (version >= 0),
    upstreams jsonb not null            -- endpoints of the monolith and of each service, as last enrolled
);
insert into strangler.publication (version, upstreams) values (0, '{}');

create table strangler.routing_table (
    version bigint primary key,
    sealed bytea not null,
    published_at timestamptz not null default clock_timestamp()
);

create table strangler.history (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    capability text not null,
    command text not null,
    who text not null check (who <> ''),
    reason text not null check (reason <> ''),
    version bigint not null,            -- of the routing table that carried it
    epoch bigint not null,
    before jsonb,
    after jsonb,
    evidence jsonb not null default '{}'
);
create index history_of_capability on strangler.history (capability, id desc);

create function strangler.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'strangler.history is append-only: % refused', tg_op using errcode = 'insufficient_privilege';
end $$;
create trigger append_only before update or delete or truncate on strangler.history
    for each statement execute function strangler.refuse_change();
alter table strangler.history enable always trigger append_only;

-- The proxy's workers: which version each has swapped in, and when it was last heard of.
create table strangler.worker (
    id text primary key,
    version bigint not null,
    seen_at timestamptz not null default clock_timestamp(),
    about text not null
);
