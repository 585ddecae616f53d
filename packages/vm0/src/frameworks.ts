import { Vm0Error, type FrameworkView, type InstallOutput } from '@vm0/contract/client'
import { lineError, linesOf, type Http } from './http.js'

/**
 * The agents that the server can run.
 *
 * @example
 * const frameworks = await vm0.frameworks.list()
 */
export class Frameworks {
  /** @internal */
  constructor(private readonly http: Http) {}

  /**
   * Agents with their installed versions; `default` is the one that new runs take.
   *
   * @example
   * for (const { name, versions } of await vm0.frameworks.list()) console.log(name, versions)
   */
  async list(): Promise<FrameworkView[]> {
    return (await this.http.json<{ items: FrameworkView[] }>('/frameworks')).items
  }

  /**
   * Installs an exact version from the npm registry on the server, its integrity checked; one that is there already is
   * fine. Sandboxes that are made from then on have it. Throws UNKNOWN_FRAMEWORK, INVALID_REQUEST,
   * AGENT_RELEASE_MISSING or AGENT_RELEASE_CORRUPT.
   *
   * @example
   * await vm0.frameworks.install('claude-code', '2.1.330', { onProgress: (line) => console.log(line) })
   */
  async install(
    name: string,
    version: string,
    { onProgress }: { onProgress?: (message: string) => void } = {},
  ): Promise<FrameworkView> {
    const response = await this.http.request('/frameworks', { method: 'POST', json: { name, version }, patient: true })
    for await (const line of linesOf<InstallOutput>(response)) {
      if (line.type === 'progress') onProgress?.(line.message)
      else if (line.type === 'installed') return line.framework
      else throw lineError(line)
    }
    throw new Vm0Error('SERVER_UNREACHABLE', 'the answer ended before the release was installed')
  }
}
