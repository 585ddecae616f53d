-- Templates of projects, in versions. Does not break running versions: they know the built-in template only, and list the
-- sessions in which templates are built among the others.

create table templates (
  project_id text not null references projects (id),
  name text not null,
  -- the version that the name alone means, and the one that it meant before
  promoted integer,
  promoted_before integer,
  -- numbers are given once, also those of versions that were removed
  last_version integer not null default 0,
  primary key (project_id, name)
);

create table template_versions (
  project_id text not null,
  name text not null,
  version integer not null check (version >= 1),
  digest text not null,
  size_bytes bigint not null,
  env jsonb not null default '{}',
  resources jsonb not null default '{}',
  -- what it was made from
  origin jsonb not null,
  created_at timestamptz not null default now(),
  primary key (project_id, name, version),
  foreign key (project_id, name) references templates (project_id, name)
);
create index template_versions_digest on template_versions (project_id, digest);

-- what the session is there for; one in which a template is built is nobody's to see
alter table sessions add column kind text not null default 'session' check (kind in ('session', 'template_build'));
create index sessions_of_template on sessions (project_id, template) where state = 'open';
create index checkpoints_of_template on checkpoints (project_id, template);
