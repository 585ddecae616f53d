import type { CheckpointManifest } from './store.js'

/** What a checkpoint's manifest says of its row, by the names of the columns. */
export function checkpointColumns(id: string, manifest: CheckpointManifest) {
  const { projectId, sessionId, runId, parent, cause, outcome, epoch, template, conversation, name } = manifest
  return {
    project_id: projectId,
    id,
    session_id: sessionId,
    run_id: runId,
    parent,
    cause,
    outcome,
    epoch,
    template,
    framework: conversation?.framework ?? null,
    agent_session_id: conversation?.agentSessionId ?? null,
    name: name ?? null,
  }
}
