-- The body of a fence's function while it only observes: every statement passes, and one that is not the sync's leaves a
-- message in the WAL, at once and whatever becomes of its transaction. One a statement: what a row's trigger sees, the
-- statement's has seen.
begin
  if tg_level operator(pg_catalog.=) 'STATEMENT' and not (
       session_user operator(pg_catalog.=) {role}
       and coalesce(pg_catalog.current_setting('strangler.fence', true), '') operator(pg_catalog.=) 'passes'
     ) then
    perform pg_catalog.pg_logical_emit_message(false, {prefix}, pg_catalog.jsonb_build_object(
      'capability', {capability}::pg_catalog.text,
      'table', pg_catalog.format('%s.%s', tg_table_schema, tg_table_name),
      'operation', tg_op,
      'application', pg_catalog.current_setting('application_name'),
      'session_user', session_user,
      'user', current_user,
      'process', pg_catalog.pg_backend_pid(),
      'transaction', pg_catalog.pg_current_xact_id()::pg_catalog.text,
      'depth', pg_catalog.pg_trigger_depth(),
      'at', pg_catalog.clock_timestamp(),
      'statement', pg_catalog."left"(pg_catalog.current_query(), {most})
    )::pg_catalog.text);
  end if;
  if tg_op operator(pg_catalog.=) 'DELETE' then return old; end if;
  return new;
end
