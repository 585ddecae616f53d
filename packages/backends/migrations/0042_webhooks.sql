-- Webhooks, and what is to be told to them. Does not break running versions: the database itself queues what they end.

create table webhooks (
  project_id text not null references projects (id),
  id text not null,
  -- the encrypted JSON of the address and the signing secret
  target bytea not null,
  events text[] not null check (events <@ array['run.ended', 'run.died'] and cardinality(events) > 0),
  description text not null default '',
  created_at timestamptz not null default now(),
  -- the server's order
  position bigint generated always as identity,
  primary key (project_id, id)
);

create table webhook_deliveries (
  project_id text not null,
  webhook_id text not null,
  -- the same at every attempt: receivers know by it what they have had
  id uuid not null,
  event text not null,
  -- null: of no run, a test
  run_id uuid,
  state text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
  attempts integer not null default 0,
  -- of a pending one: when it is due; while it is on its way, when it counts as lost
  next_at timestamptz not null default now(),
  -- of the last attempt
  status integer,
  error text,
  created_at timestamptz not null default now(),
  settled_at timestamptz,
  position bigint generated always as identity,
  primary key (project_id, id),
  foreign key (project_id, webhook_id) references webhooks (project_id, id) on delete cascade
);
create index webhook_deliveries_due on webhook_deliveries (project_id, webhook_id, next_at, position) where state = 'pending';
create index webhook_deliveries_newest on webhook_deliveries (project_id, webhook_id, position desc);

-- Whoever writes how a run ended queues what is told of it, in one transaction: neither is ever there without the other. The
-- lock keeps a webhook that is removed at this moment from failing the end of the run.
create function queue_webhook_deliveries() returns trigger language plpgsql as $$
begin
  insert into webhook_deliveries (project_id, webhook_id, id, event, run_id)
  select hook.project_id, hook.id, gen_random_uuid(), event, new.id
  from (select * from webhooks where project_id = new.project_id for key share) hook, unnest(hook.events) as event
  where event = 'run.ended' or new.state = 'died';
  return null;
end
$$;
create trigger runs_queue_webhook_deliveries after update of state on runs for each row
when (old.state not in ('succeeded', 'failed', 'cancelled', 'died') and new.state in ('succeeded', 'failed', 'cancelled', 'died'))
execute function queue_webhook_deliveries();
