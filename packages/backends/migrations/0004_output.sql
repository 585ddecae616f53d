-- Results in the form that a run asked for. Does not break running versions: they neither read nor write it.

-- the encrypted JSON of the output
alter table runs add column output bytea;
