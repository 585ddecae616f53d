import type { ColumnType, Generated } from 'kysely'

type Timestamp = ColumnType<Date, Date | string | undefined, Date | string>
type OptionalTimestamp = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>
/** jsonb: read parsed, written as JSON text. */
type Json = ColumnType<unknown, string | undefined, string>
type Big = ColumnType<number | string | bigint, number | undefined, number>

/** The tables of `migrations/`, as Kysely sees them. */
export interface Schema {
  installation: { only_one: Generated<boolean>; id: string; place: string; claimed_at: Timestamp }
  projects: {
    id: string
    name: string
    created_at: Timestamp
    position: Generated<number | string>
    quota_bytes: ColumnType<number | string | null, number | null | undefined, number | null>
    capture: Generated<string>
  }
  api_keys: {
    id: string
    project_id: string
    name: string
    hash: string
    created_at: Timestamp
    revoked_at: OptionalTimestamp
    scopes: Generated<string[]>
    expires_at: OptionalTimestamp
    kind: Generated<string>
    made_by: string | null
    session_id: string | null
    run_id: string | null
    position: Generated<number | string>
  }
  sessions: {
    project_id: string
    id: string
    state: Generated<string>
    template: string
    framework: string | null
    agent_session_id: string | null
    head: string | null
    origin: string | null
    resources: Json
    labels: Json
    body_hash: string
    workspace_upload: string | null
    kind: Generated<string>
    runner_id: string | null
    lost_processes: ColumnType<unknown, string | null | undefined, string | null>
    epoch: Big
    created_at: Timestamp
    updated_at: Timestamp
    position: Generated<number | string>
  }
  runs: {
    project_id: string
    id: string
    session_id: string
    position: Generated<number | string>
    state: string
    reason: string | null
    framework: string
    agent_version: string | null
    model: string | null
    labels: Json
    body_hash: string
    spec: Uint8Array
    result_text: Uint8Array | null
    output: Uint8Array | null
    usage: Json
    cost_usd: Generated<number>
    timings: Json
    checkpoint: string | null
    attempts: Generated<number>
    error: ColumnType<unknown, string | null | undefined, string | null>
    epoch: Big
    created_at: Timestamp
    started_at: OptionalTimestamp
    ended_at: OptionalTimestamp
  }
  checkpoints: {
    project_id: string
    id: string
    session_id: string
    run_id: string | null
    parent: string | null
    cause: string
    outcome: string | null
    epoch: number | string
    size_bytes: number | string
    created_at: Timestamp
    position: Generated<number | string>
    template: string | null
    framework: string | null
    agent_session_id: string | null
    changed_files: Generated<number>
    name: string | null
    tool_calls: Uint8Array | null
  }
  templates: {
    project_id: string
    name: string
    promoted: number | null
    promoted_before: number | null
    last_version: Generated<number>
  }
  template_versions: {
    project_id: string
    name: string
    version: number
    digest: string
    size_bytes: number | string
    env: Json
    resources: Json
    origin: ColumnType<unknown, string, string>
    created_at: Timestamp
  }
  webhooks: {
    project_id: string
    id: string
    target: Uint8Array
    events: string[]
    description: Generated<string>
    created_at: Timestamp
    position: Generated<number | string>
  }
  webhook_deliveries: {
    project_id: string
    webhook_id: string
    id: string
    event: string
    run_id: string | null
    state: Generated<string>
    attempts: Generated<number>
    next_at: Timestamp
    status: number | null
    error: string | null
    created_at: Timestamp
    settled_at: OptionalTimestamp
    position: Generated<number | string>
  }
  uploads: { project_id: string; digest: string; size_bytes: number | string; created_at: Timestamp }
}
