-- What ran in a session's last sandbox when that was given up. Does not break running versions: they neither read nor write it.

-- {at, processes: [{pid, command}]}: pid as it was inside the sandbox; null: nothing but the agent ran
alter table sessions add column lost_processes jsonb;
