-- Forks, rollbacks, and checkpoints within a run. Does not break running versions: what they read and write is as before; the
-- checkpoints that they write have no conversation here, so that a fork of one begins a new one.

-- the checkpoint that a session was forked from
alter table sessions add column origin text;
create index sessions_of_origin on sessions (project_id, origin) where origin is not null;

alter table checkpoints
  -- the server's order
  add column position bigint generated always as identity,
  add column template text,
  add column framework text,
  -- where the conversation stands: the agent's own session id
  add column agent_session_id text,
  add column changed_files integer not null default 0,
  -- a person's name for it
  add column name text,
  -- the encrypted JSON of the tool calls that led to it
  add column tool_calls bytea;
create unique index checkpoints_of_session on checkpoints (project_id, session_id, position desc);
update checkpoints set template = sessions.template, framework = sessions.framework, agent_session_id = sessions.agent_session_id
  from sessions where sessions.project_id = checkpoints.project_id and sessions.id = checkpoints.session_id;
