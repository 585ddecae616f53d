-- How often a run was taken up again. Does not break running versions: they don't count.

alter table runs add column attempts integer not null default 1 check (attempts >= 1);
