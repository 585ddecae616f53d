import type { LiveSandbox } from '@vm0/contract'
import type { LiveSession } from '../live-session.js'
import type { RunLife } from '../run-life.js'

/** A session's sandbox as it is at this moment; undefined where it has none. */
export function liveSandbox(
  { sandbox, ref, freezing }: LiveSession,
  life: RunLife | undefined,
): LiveSandbox | undefined {
  if (!sandbox) return undefined
  const { isFrozen, isReclaimed } = freezing
  const atWork = life && !life.ending ? life : undefined
  const activity = atWork?.watch?.activity
  return {
    sandboxId: sandbox.id,
    sessionId: ref.sessionId,
    runId: atWork?.ref.runId ?? null,
    state: activity?.waiting
      ? 'waiting'
      : atWork
        ? 'working'
        : isReclaimed
          ? 'reclaimed'
          : isFrozen
            ? 'frozen'
            : 'idle',
    doing: activity?.waiting ? null : (activity?.doing ?? null),
    doingMs: activity ? Math.max(0, Math.round(Date.now() - activity.sinceMs)) : null,
    ...sandbox.blackBox.figures(),
  }
}
