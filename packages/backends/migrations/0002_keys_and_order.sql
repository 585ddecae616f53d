-- Scopes, expiry and tokens; the server's own order of sessions, projects and keys; the data folder that a database belongs
-- to. Does not break running versions: what they read and write is as before. But they don't look at scopes and expiry: a
-- key that was narrowed here is a whole one to them, so stop them before such keys are handed out.

alter table api_keys
  -- what every key could do until now
  add column scopes text[] not null default '{read,write,admin}'
    check (scopes <@ array['read', 'write', 'admin', 'installation'] and cardinality(scopes) > 0),
  add column expires_at timestamptz,
  add column kind text not null default 'key' check (kind in ('key', 'token')),
  -- of a token: the key that made it, and the one session or run that it may see
  add column made_by text references api_keys (id) on delete cascade,
  add column session_id uuid,
  add column run_id uuid,
  add column position bigint generated always as identity;
create index api_keys_of_project on api_keys (project_id, position desc) where kind = 'key';
create index api_keys_made_by on api_keys (made_by) where made_by is not null;

-- Ids are the client's: they say nothing about order.
alter table projects add column position bigint generated always as identity;
alter table sessions add column position bigint generated always as identity;
create unique index sessions_newest on sessions (project_id, position desc);

-- for the bound on a project's queued runs
create index runs_queued_of_project on runs (project_id) where state = 'queued';

create table installation (
  -- one row at most
  only_one boolean primary key default true check (only_one),
  id text not null,
  -- where its keys, event logs and layers lie, for people: host and folder
  place text not null,
  claimed_at timestamptz not null default now()
);
