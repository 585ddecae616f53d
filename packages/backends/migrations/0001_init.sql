-- The first schema. Does not break running versions: there are none before it.

create table projects (
  id text primary key,
  name text not null,
  created_at timestamptz not null default now()
);

create table api_keys (
  id text primary key,
  project_id text not null references projects (id),
  name text not null,
  -- sha256 of the key: the key itself is shown once and never stored
  hash text not null unique,
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);

create table sessions (
  project_id text not null references projects (id),
  id uuid not null,
  state text not null default 'open' check (state in ('open', 'deleted')),
  template text not null,
  framework text,
  agent_session_id text,
  -- checkpoint id; null before the first
  head text,
  resources jsonb not null default '{}',
  labels jsonb not null default '{}',
  -- sha256 of the canonical body that made it: the same id with another body is a conflict
  body_hash text not null,
  -- digest of a tar that is unpacked into /workspace of the first sandbox
  workspace_upload text,
  runner_id text,
  epoch bigint not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (project_id, id)
);

create table runs (
  project_id text not null,
  id uuid not null,
  session_id uuid not null,
  -- the server's order
  position bigint generated always as identity,
  state text not null check (state in ('queued', 'starting', 'running', 'waiting', 'succeeded', 'failed', 'cancelled', 'died')),
  reason text,
  framework text not null,
  agent_version text,
  model text,
  labels jsonb not null default '{}',
  body_hash text not null,
  -- the encrypted JSON of the parsed request: prompt, env and the rest
  spec bytea not null,
  -- the encrypted final text
  result_text bytea,
  usage jsonb not null default '{"inputTokens":0,"outputTokens":0,"cacheReadTokens":0,"cacheWriteTokens":0}',
  cost_usd double precision not null default 0,
  timings jsonb not null default '{}',
  checkpoint text,
  error jsonb,
  epoch bigint not null default 0,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  ended_at timestamptz,
  primary key (project_id, id),
  foreign key (project_id, session_id) references sessions (project_id, id)
);
-- a session has one run at work at a time
create unique index runs_one_active on runs (project_id, session_id) where state in ('starting', 'running', 'waiting');
create index runs_queue on runs (position) where state = 'queued';
create index runs_newest on runs (project_id, position desc);
create index runs_of_session on runs (project_id, session_id, position);

create table checkpoints (
  project_id text not null,
  id text not null,
  session_id uuid not null,
  run_id uuid,
  parent text,
  cause text not null,
  outcome text,
  epoch bigint not null,
  size_bytes bigint not null,
  created_at timestamptz not null default now(),
  primary key (project_id, id),
  foreign key (project_id, session_id) references sessions (project_id, id)
);

create table uploads (
  project_id text not null references projects (id),
  digest text not null,
  size_bytes bigint not null,
  created_at timestamptz not null default now(),
  primary key (project_id, digest)
);
