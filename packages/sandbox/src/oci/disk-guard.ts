import { stat, statfs } from 'node:fs/promises'
import { Vm0Error } from '@vm0/contract'

/** A sandbox as the guard sees it. */
export interface Guarded {
  readonly upperFile: string
  /** Ends it for this reason and gives its disk back. */
  fail(reason: Vm0Error): Promise<void>
}

const tickMs = 250
/** Less than this is noise, not what fills a disk. */
const noticeableBytes = 16 * 1024 ** 2

/** The one that has grown most since the disk ran short, if any has grown noticeably: something else may be filling it. */
export function culprit<T>(growth: ReadonlyMap<T, number>): T | undefined {
  const [most] = [...growth].toSorted(([, a], [, b]) => b - a)
  return most && most[1] >= noticeableBytes ? most[0] : undefined
}

/**
 * Sandboxes may have more room together than the host's disk has. When it runs short, the one that grows most is ended,
 * before the others, the database and the saves find no room.
 */
export class DiskGuard {
  private readonly timer: NodeJS.Timeout
  private ticking: Promise<void> | undefined
  /** Sizes when the disk ran short. */
  private readonly before = new Map<Guarded, number>()

  constructor(
    private readonly directory: string,
    /** Where it begins to look; at half of it, it acts. */
    private readonly shortBytes: number,
    private readonly sandboxes: ReadonlySet<Guarded>,
  ) {
    this.timer = setInterval(() => {
      this.ticking ??= this.tick().finally(() => (this.ticking = undefined))
    }, tickMs)
    this.timer.unref()
  }

  async close(): Promise<void> {
    clearInterval(this.timer)
    await this.ticking
  }

  private async tick(): Promise<void> {
    if (this.sandboxes.size === 0) return
    const free = await freeBytes(this.directory).catch(() => undefined)
    // A disk that doesn't answer is asked again with the next tick.
    if (free === undefined) return
    if (free >= this.shortBytes) return this.before.clear()
    const growth = new Map<Guarded, number>()
    for (const sandbox of this.sandboxes) {
      const bytes = (await stat(sandbox.upperFile).catch(() => ({ blocks: 0 }))).blocks * 512
      if (!this.before.has(sandbox)) this.before.set(sandbox, bytes)
      growth.set(sandbox, bytes - (this.before.get(sandbox) ?? bytes))
    }
    const chosen = free < this.shortBytes / 2 ? culprit(growth) : undefined
    if (!chosen) return
    this.before.delete(chosen)
    const told = `the host's disk is nearly full (${Math.floor(free / 1024 ** 2)} MiB free), and this sandbox was filling it`
    await chosen.fail(new Vm0Error('HOST_DISK_FULL', told))
  }
}

export async function freeBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory)
  return bavail * bsize
}
