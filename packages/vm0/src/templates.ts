import {
  Vm0Error,
  type BuildTemplate,
  type SessionTemplate,
  type TemplateList,
  type TemplateOutput,
  type TemplateVersionView,
  type TemplateView,
} from '@vm0/contract/client'
import { lineError, linesOf, type Http } from './http.js'

/**
 * What a build tells while it is at work: steps as they begin, what they print, and progress.
 *
 * @example
 * const onOutput = (output: TemplateProgress) => console.log(output.type === 'output' ? output.text : output)
 */
export type TemplateProgress = Extract<TemplateOutput, { type: 'step' | 'output' | 'progress' }>

/**
 * How a build is followed.
 *
 * @example
 * const options: TemplateCallOptions = { onOutput: (output) => console.log(output), signal: AbortSignal.timeout(600_000) }
 */
export interface TemplateCallOptions {
  onOutput?: (output: TemplateProgress) => void
  /** Aborting ends the build; nothing of it is kept. */
  signal?: AbortSignal
}

/**
 * Templates of the key's project: what sessions begin with, in versions.
 *
 * @example
 * const session = await vm0.sessions.create({ template: 'web' })
 */
export class Templates {
  /** @internal */
  constructor(private readonly http: Http) {}

  /**
   * Makes a new version. Its steps run in a sandbox over the template `from`; the first that fails ends the build with
   * TEMPLATE_STEP_FAILED, and nothing is kept. The first version of a name is what the name means; a later one with `promote`.
   *
   * @example
   * const commands = ['useradd --create-home web']
   * const { version } = await vm0.templates.build('web', { commands, env: { TZ: 'UTC' }, promote: true })
   */
  build(name: string, recipe: BuildTemplate = {}, options: TemplateCallOptions = {}): Promise<TemplateVersionView> {
    return followBuild(this.http, `/templates/${encodeURIComponent(name)}/versions`, recipe, options)
  }

  /**
   * All templates with their versions, the newest first; `standard` is the digest of the built-in one.
   *
   * @example
   * for (const { name, promoted } of (await vm0.templates.list()).items) console.log(name, promoted)
   */
  list(): Promise<TemplateList> {
    return this.http.json('/templates')
  }

  /**
   * One template with its versions. Throws UNKNOWN_TEMPLATE.
   *
   * @example
   * const { versions } = await vm0.templates.get('web')
   */
  get(name: string): Promise<TemplateView> {
    return this.http.json(`/templates/${encodeURIComponent(name)}`)
  }

  /**
   * The name means this version from now on. Sessions keep the one that they began with. Throws UNKNOWN_TEMPLATE.
   *
   * @example
   * const { versions } = await vm0.templates.promote('web', 2)
   */
  promote(name: string, version: number): Promise<TemplateView> {
    const json = { version }
    return this.http.json(`/templates/${encodeURIComponent(name)}/promote`, { method: 'POST', json })
  }

  /**
   * The name means again what it meant before the last promotion. Throws UNKNOWN_TEMPLATE or CONFLICT.
   *
   * @example
   * const { promoted } = await vm0.templates.rollback('web')
   */
  rollback(name: string): Promise<TemplateView> {
    return this.http.json(`/templates/${encodeURIComponent(name)}/rollback`, { method: 'POST', retry: false })
  }

  /**
   * Removes a version, or (without one) the template with all of them. Throws TEMPLATE_IN_USE while a session needs it.
   *
   * @example
   * await vm0.templates.delete('web', 2)
   */
  async delete(name: string, version?: number): Promise<void> {
    const which = version === undefined ? '' : `/versions/${version}`
    await this.http.json(`/templates/${encodeURIComponent(name)}${which}`, { method: 'DELETE' })
  }
}

/**
 * What a template takes over from a session beside its files: nothing has to be given.
 *
 * @example
 * const options: ToTemplateOptions = { env: { TZ: 'UTC' }, promote: true }
 */
export interface ToTemplateOptions extends Omit<SessionTemplate, 'name'>, TemplateCallOptions {}

/** @internal */
export async function followBuild(
  http: Http,
  path: string,
  json: object,
  { onOutput, signal }: TemplateCallOptions,
): Promise<TemplateVersionView> {
  const response = await http.request(path, { method: 'POST', json, signal, retry: false, patient: true })
  let built: TemplateVersionView | undefined
  // Read to its end: then nothing of the build is at work any more.
  for await (const line of linesOf<TemplateOutput>(response, signal)) {
    if (line.type === 'error') throw lineError(line)
    if (line.type === 'built') built = line.template
    else onOutput?.(line)
  }
  if (built) return built
  throw new Vm0Error('SERVER_UNREACHABLE', 'the answer ended before the template was built', {
    hint: 'The server stopped meanwhile: build it again; what a build leaves behind is removed when the server starts.',
  })
}
