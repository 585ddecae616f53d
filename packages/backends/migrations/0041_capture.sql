-- What a project lets out to telemetry. Does not break running versions: they export nothing.

alter table projects
  -- nothing; names, sizes and times; or what was written and said as well
  add column capture text not null default 'metadata' check (capture in ('none', 'metadata', 'full'));
