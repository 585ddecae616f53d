import { expireCheckpoints, sessionsWithMany, type Database, type KeyRing } from '@vm0/backends'
import { expiredCheckpoints, type CheckpointStore, type RetentionPolicy } from '@vm0/checkpoints'
import {
  Vm0Error,
  type EncryptionReport,
  type GcReport,
  type ResealReport,
  type StoreReport,
  type StoreUpkeep,
  type UpkeepCall,
} from '@vm0/contract'
import { ClockWatch } from './clock-watch.js'
import { dropKey, encryptionReport, reseal } from './encryption.js'
import { StoreReferences } from './references.js'

export interface UpkeepParts {
  database: Database
  secrets: KeyRing
  /** Where the records of this host's sandboxes lie. */
  sandboxes: string
  checkpoints: CheckpointStore
  /** Without it every checkpoint of an open session stays. */
  retention?: RetentionPolicy | undefined
}

const progressEveryMs = 1_000

/** The care of the store: what is damaged, and what nobody needs. One call is at work at a time, so that a check never takes what is being collected for lost. */
export class Upkeep implements StoreUpkeep {
  private last: Promise<unknown> = Promise.resolve()
  private readonly clock = new ClockWatch()

  constructor(private readonly parts: UpkeepParts) {}

  fsck({ deep }: { deep: boolean }, { onProgress, signal }: UpkeepCall): Promise<StoreReport> {
    return this.inTurn(async () => {
      const references = this.references()
      const { problems, ...counts } = await this.parts.checkpoints.fsck(references, {
        deep,
        signal,
        onProgress: seldom((checkpoints) => onProgress(`${checkpoints} checkpoints checked`)),
      })
      return {
        ...counts,
        problems: problems.map(({ message, checkpoints }) => ({
          message,
          checkpoints,
          sessions: sessionsOf(checkpoints, references),
        })),
      }
    })
  }

  gc({ graceMs, dryRun }: { graceMs: number; dryRun: boolean }, { signal }: UpkeepCall): Promise<GcReport> {
    return this.inTurn(async () => {
      signal.throwIfAborted()
      const stepMs = this.clock.steppedWithin(graceMs)
      if (stepMs !== undefined && !dryRun)
        throw new Vm0Error(
          'NOT_READY',
          `the host's clock was set by ${Math.round(stepMs / 1000)} s: nothing is collected until the grace time has passed since`,
        )
      const references = this.references()
      if (!dryRun) await references.forget(graceMs)
      return this.parts.checkpoints.gc(references, { graceMs, dryRun, signal })
    })
  }

  encryption({ signal }: UpkeepCall): Promise<EncryptionReport> {
    return this.inTurn(() => encryptionReport(this.parts, signal))
  }

  reseal(options: { newKey: boolean }, { onProgress, signal }: UpkeepCall): Promise<ResealReport> {
    return this.inTurn(() =>
      reseal(this.parts, {
        ...options,
        signal,
        onProgress: seldom((objects) => onProgress(`${objects} objects looked at`)),
      }),
    )
  }

  dropKey(id: string, { signal }: UpkeepCall): Promise<void> {
    return this.inTurn(() => dropKey(this.parts, id, signal))
  }

  /** Lets the checkpoints go that the policy doesn't keep; says how many. What only they needed is garbage then. */
  expire(signal: AbortSignal): Promise<number> {
    return this.inTurn(async () => {
      const { database, retention } = this.parts
      if (!retention) return 0
      let gone = 0
      for (const session of await sessionsWithMany(database, retention.last)) {
        signal.throwIfAborted()
        const choose = (checkpoints: Parameters<typeof expiredCheckpoints>[0]): string[] =>
          expiredCheckpoints(checkpoints, retention, Date.now())
        gone += await expireCheckpoints(database, session, choose)
      }
      return gone
    })
  }

  private references(): StoreReferences {
    return new StoreReferences(this.parts.database, this.parts.secrets)
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.last.then(work)
    this.last = done.catch(() => undefined)
    return done
  }
}

/** Each session that needs one of the checkpoints, once. */
function sessionsOf(
  checkpoints: readonly string[],
  { users }: StoreReferences,
): StoreReport['problems'][number]['sessions'] {
  const found = new Map<string, StoreReport['problems'][number]['sessions'][number]>()
  for (const { projectId, sessionId, isHead } of checkpoints.flatMap((id) => users.get(id) ?? [])) {
    const key = `${projectId}/${sessionId}`
    const session = found.get(key) ?? { project: projectId, id: sessionId, head: false }
    session.head ||= isHead
    found.set(key, session)
  }
  return [...found.values()]
}

function seldom(tell: (count: number) => void): (count: number) => void {
  let lastMs = performance.now()
  return (count) => {
    if (performance.now() - lastMs < progressEveryMs) return
    lastMs = performance.now()
    tell(count)
  }
}
