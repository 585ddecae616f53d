-- How much a project may store. Does not break running versions: they don't look at it.

-- null: without bound
alter table projects add column quota_bytes bigint check (quota_bytes >= 0);
-- for the sum over a project's checkpoints, and over each of its sessions
create index checkpoints_stored on checkpoints (project_id, session_id) include (size_bytes);
