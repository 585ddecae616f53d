import {
  largestSessions,
  projectStorage,
  roomForRun,
  storageUnderQuota,
  type Database,
  type UnderQuota,
} from '@vm0/backends'
import { Vm0Error, type StorageView } from '@vm0/contract'

const namedSessions = 3

/** What projects store, and whether they may store more. */
export class Storage {
  constructor(private readonly database: Database) {}

  async get(projectId: string, sessions: number): Promise<StorageView> {
    const { db } = this.database
    const stored = await projectStorage(db, projectId)
    if (!stored) throw new Vm0Error('NOT_FOUND', `project ${projectId} does not exist`)
    return { project: projectId, ...stored, sessions: await largestSessions(db, projectId, sessions) }
  }

  /** Throws QUOTA_EXCEEDED where the project holds as much as it may: before anything is begun that would be lost. */
  async requireRoom(projectId: string, db: Database['db'] = this.database.db): Promise<void> {
    return this.requireUnder(await storageUnderQuota(db, projectId), projectId, db)
  }

  /**
   * The same for a new run; throws QUEUE_FULL where as many wait to start as may. Requests that come at the same instant may
   * pass that bound by their number.
   */
  async requireRoomForRun(projectId: string, queuedRuns: number, db: Database['db']): Promise<void> {
    const { queueFull, stored } = await roomForRun(db, projectId, queuedRuns)
    if (queueFull)
      throw new Vm0Error('QUEUE_FULL', `${queuedRuns} runs of the project wait to start; expected fewer`, {
        details: { retryAfterMs: 2_000 },
      })
    await this.requireUnder(stored, projectId, db)
  }

  private async requireUnder(stored: UnderQuota | undefined, projectId: string, db: Database['db']): Promise<void> {
    if (!stored || stored.storedBytes < stored.quotaBytes) return
    const { storedBytes, quotaBytes } = stored
    const sessions = await largestSessions(db, projectId, namedSessions)
    const most = sessions.map(
      ({ id, storedBytes: held, checkpoints }) =>
        `${id} (${mib(held)} in ${checkpoints} checkpoint${checkpoints === 1 ? '' : 's'})`,
    )
    throw new Vm0Error(
      'QUOTA_EXCEEDED',
      `the checkpoints of the project ${projectId} hold ${mib(storedBytes)}; its quota is ${mib(quotaBytes)}. Most is in the sessions ${most.join(', ')}`,
      { details: { storedBytes, quotaBytes, sessions } },
    )
  }
}

const mib = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MiB`
