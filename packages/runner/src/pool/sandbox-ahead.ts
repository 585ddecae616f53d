import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { defaultResources, type Resources } from '@vm0/contract'
import type { PreparedSandbox, SandboxSpec } from '@vm0/sandbox'
import type { RunnerOptions } from '../options.js'
import { platformMounts } from '../platform-mounts.js'
import { maxAgentOutputBytes } from './warm-sandbox.js'

type Made = { prepared: PreparedSandbox } & Pick<SandboxSpec, 'resources' | 'platformMounts'>

/** After a failure none is made for so long. */
const retryMs = 60_000

/**
 * One sandbox of the usual size without an agent, made ahead: for sessions whose own is gone and for runs that find the pool
 * empty. It takes a megabyte or two; what it is used for costs a tenth of what a new one does.
 */
export class SandboxAhead {
  /** Called when it was taken: another can be made. */
  onTaken: () => void = () => undefined
  private made: Made | undefined
  private notBeforeMs = 0

  constructor(
    private readonly options: Pick<RunnerOptions, 'engine' | 'templates' | 'releases' | 'logger'>,
    /** What it stands on until it is used. */
    private readonly template: string,
  ) {}

  get size(): number {
    return this.made ? 1 : 0
  }

  get isDue(): boolean {
    return !this.made && performance.now() >= this.notBeforeMs
  }

  /** Says whether there is one now. */
  async make(): Promise<boolean> {
    const { engine, templates, releases, logger } = this.options
    try {
      const [templateImage, mounts] = await Promise.all([
        // The built-in one is every project's.
        templates.image(this.template, ''),
        platformMounts(releases),
      ])
      const spec = { resources: defaultResources, platformMounts: mounts }
      const id = randomBytes(6).toString('hex')
      const first = { maxOutputBytes: maxAgentOutputBytes }
      this.made = { prepared: await engine.prepare({ id, templateImage, layers: [], ...spec }, first), ...spec }
      return true
    } catch (error) {
      this.notBeforeMs = performance.now() + retryMs
      logger.warn({ error }, 'a sandbox could not be made ahead')
      return false
    }
  }

  /** The one that was made, where it fits; one that is for agents before the newest gives way. */
  take(resources: Required<Resources>, mounts: SandboxSpec['platformMounts']): PreparedSandbox | undefined {
    const { made } = this
    if (!made || !isDeepStrictEqual(made.resources, resources)) return undefined
    this.made = undefined
    this.onTaken()
    if (isDeepStrictEqual(made.platformMounts, mounts)) return made.prepared
    void made.prepared.close()
    return undefined
  }

  async close(): Promise<void> {
    await this.made?.prepared.close()
    this.made = undefined
  }
}
