-- How stacks are reached beside their endpoints, as last enrolled; only what is not as usual.

alter table strangler.publication add column reach jsonb not null default '{}';
