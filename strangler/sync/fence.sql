-- The body of a fence's function while it refuses: one function a capability, which all triggers of the fence call. It
-- runs with the rights and under the search path of whoever writes, so each name in it is qualified. What it tells is
-- written into it when it is raised, and not read from a table: a transaction whose snapshot is older would read the
-- owner before. What the sync itself writes passes by two things, its role and a setting of its sessions.
begin
  if session_user operator(pg_catalog.=) {role}
     and pg_catalog.current_setting('strangler.fence', true) operator(pg_catalog.=) 'passes' then
    if tg_op operator(pg_catalog.=) 'DELETE' then return old; end if;
    return new;
  end if;
  raise exception using
    errcode = {state},
    message = {message},
    detail = pg_catalog.format({detail}, tg_op, tg_table_schema, tg_table_name, session_user),
    hint = {hint},
    schema = tg_table_schema,
    table = tg_table_name;
end
