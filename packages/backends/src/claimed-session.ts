import type { ClaimedSession, LostProcesses } from '@vm0/contract'
import { sql, type RawBuilder, type Selectable } from 'kysely'
import type { Schema } from './schema.js'

/** What a runner has to know of a session that it takes. */
export type ClaimedSessionRow = Pick<
  Selectable<Schema['sessions']>,
  'epoch' | 'template' | 'head' | 'agent_session_id' | 'resources' | 'workspace_upload' | 'lost_processes'
>

export function claimedSession(row: ClaimedSessionRow): ClaimedSession {
  return {
    template: row.template,
    head: row.head,
    agentSessionId: row.agent_session_id,
    resources: row.resources as Record<string, number>,
    workspaceUpload: row.workspace_upload,
    epoch: Number(row.epoch),
    lostProcesses: row.lost_processes as LostProcesses | null,
  }
}

/** The epoch of a session that a runner takes: another one than its owner's raises it. For an update of `sessions`. */
export const nextEpoch = (runnerId: string): RawBuilder<number> =>
  sql`epoch + case when runner_id is distinct from ${runnerId}::text then 1 else 0 end`
