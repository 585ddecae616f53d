import type { CheckpointManifest } from '../store.js'

export interface StoredCheckpoint {
  id: string
  manifest: CheckpointManifest
  /** What keeps it from being restored. */
  damage?: string | undefined
}

/** A session as the store alone tells of it. */
export interface RecoveredSession {
  projectId: string
  sessionId: string
  /** Where it stands; undefined where nothing of it can be restored. */
  head: StoredCheckpoint | undefined
  /** The newest of all; another than the head where it is damaged. */
  newest: StoredCheckpoint
  /** The checkpoint of another session that it was forked from. */
  origin: string | null
  /** The oldest first. */
  checkpoints: StoredCheckpoint[]
}

const byAge = (a: StoredCheckpoint, b: StoredCheckpoint): number =>
  a.manifest.epoch - b.manifest.epoch ||
  (a.manifest.createdAt < b.manifest.createdAt ? -1 : a.manifest.createdAt > b.manifest.createdAt ? 1 : 0) ||
  (a.id < b.id ? -1 : 1)

/** The one that was made last of those that no other of them follows on. */
function last(checkpoints: readonly StoredCheckpoint[]): StoredCheckpoint | undefined {
  const parents = new Set(checkpoints.map(({ manifest }) => manifest.parent))
  return checkpoints.filter(({ id }) => !parents.has(id)).at(-1)
}

/** Whether it was put into the store to no purpose: nothing had changed since its parent, so it was never made the head. */
function addsNothing({ manifest }: StoredCheckpoint, before: StoredCheckpoint | undefined): boolean {
  const passing = manifest.cause !== 'run' && manifest.cause !== 'tool' && manifest.name === undefined
  return passing && before !== undefined && stackOf(manifest) === stackOf(before.manifest)
}

const stackOf = ({ template, layers }: CheckpointManifest): string =>
  [template, ...layers.map(({ digest }) => digest)].join(' ')

/**
 * The sessions that checkpoints are of, and where each stands: at the newest that can be restored. A fork that was never
 * saved has no checkpoint of its own, and what was rolled back and not saved since stands where it stood before.
 */
export function recoverSessions(checkpoints: readonly StoredCheckpoint[]): RecoveredSession[] {
  const bySession = new Map<string, StoredCheckpoint[]>()
  const byId = new Map(checkpoints.map((each) => [each.id, each]))
  for (const each of checkpoints.toSorted(byAge)) {
    if (addsNothing(each, byId.get(each.manifest.parent ?? ''))) continue
    const key = `${each.manifest.projectId}/${each.manifest.sessionId}`
    const own = bySession.get(key)
    if (own) own.push(each)
    else bySession.set(key, [each])
  }
  return [...bySession.values()].map((own) => {
    const { projectId, sessionId } = (own[0] as StoredCheckpoint).manifest
    // What is not there, such as one that a policy let go, is no origin: nobody could go back to it.
    const parents = own.map(({ manifest }) => byId.get(manifest.parent ?? ''))
    const origin = parents.find((parent) => parent && parent.manifest.sessionId !== sessionId)
    return {
      projectId,
      sessionId,
      head: last(own.filter(({ damage }) => damage === undefined)),
      newest: last(own) as StoredCheckpoint,
      origin: origin?.id ?? null,
      checkpoints: own,
    }
  })
}
