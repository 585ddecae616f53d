-- Runs by how they ended, the newest first. Does not break running versions: an index alone.

create index runs_by_state on runs (project_id, state, position desc);
