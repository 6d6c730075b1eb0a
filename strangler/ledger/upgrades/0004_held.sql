-- What a worker acknowledges of holds: {capability: {id, in_flight, parked}}, for those that its routing table asks for.

alter table strangler.worker add column held jsonb not null default '{}';
