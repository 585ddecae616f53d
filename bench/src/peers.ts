import { mkdir, rm } from 'node:fs/promises'
import { diskUse, settle, timed, type Workbench } from './workbench.js'

/** What the same takes by restic and by `tar | zstd -1`; NaN everywhere where nobody asked for it. */
export class Peers {
  private readonly environment: Record<string, string>
  private saved = 0

  constructor(
    private readonly bench: Workbench,
    private readonly wanted: boolean,
  ) {
    this.environment = {
      RESTIC_PASSWORD: 'bench',
      RESTIC_CACHE_DIR: bench.path('restic-cache'),
      RESTIC_REPOSITORY: bench.path('restic'),
    }
  }

  begin(): Promise<number> {
    return this.restic('init')
  }

  resticSave(): Promise<number> {
    return this.restic('backup', '-q', this.bench.live)
  }

  async resticRestore(): Promise<number> {
    await settle()
    return this.restic('restore', '-q', 'latest', '--target', this.bench.path('restic-restored'))
  }

  resticBytes(): Promise<number> {
    return this.wanted ? diskUse(this.bench.path('restic')) : Promise.resolve(Number.NaN)
  }

  tarSave(): Promise<number> {
    this.saved += 1
    const command = `tar -C "$1" -c . | zstd -q -1 -T0 -o "$2" -f`
    return this.time('sh', ['-c', command, 'sh', this.bench.live, this.archive()])
  }

  async tarRestore(): Promise<number> {
    const target = this.bench.path('tar-restored')
    await mkdir(target)
    await settle()
    const ms = await this.time('sh', ['-c', 'zstd -q -d -c "$1" | tar -x -C "$2"', 'sh', this.archive(), target])
    await rm(target, { recursive: true })
    return ms
  }

  tarBytes(): Promise<number> {
    return this.wanted ? diskUse(this.archive()) : Promise.resolve(Number.NaN)
  }

  private archive(): string {
    return this.bench.path(`${this.saved}.tar.zst`)
  }

  private restic(...args: string[]): Promise<number> {
    return this.time('restic', args)
  }

  private time(command: string, args: readonly string[]): Promise<number> {
    return this.wanted ? timed(command, args, this.environment) : Promise.resolve(Number.NaN)
  }
}
