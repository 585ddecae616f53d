import {
  Vm0Error,
  webStreamOf,
  type BuildTemplate,
  type SessionTemplate,
  type TemplateList,
  type TemplateOutput,
  type TemplateVersionView,
  type TemplateView,
} from '@vm0/contract/client'
import { lineError, linesOf, type Http, type RequestBody, type RequestOptions } from './http.js'

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
 * What a template is made of: Debian `packages` and `commands` over `from`, or a `dockerfile` (its text).
 *
 * @example
 * const recipe: TemplateRecipe = { dockerfile: 'FROM standard\nCOPY . /opt/tool', context: './tool' }
 */
export interface TemplateRecipe extends Omit<BuildTemplate, 'context'> {
  /** The local folder that a Dockerfile copies from; what its .dockerignore leaves out isn't sent. */
  context?: string
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
  async build(
    name: string,
    { context: folder, ...recipe }: TemplateRecipe = {},
    options: TemplateCallOptions = {},
  ): Promise<TemplateVersionView> {
    const context = folder === undefined ? undefined : await sendFolder(this.http, folder, options.signal)
    const body = { ...recipe, ...(context === undefined ? {} : { context }) }
    return followBuild(this.http, `/templates/${encodeURIComponent(name)}/versions`, { json: body }, options)
  }

  /**
   * Makes a new version of an OCI image: a layout in a tar, as `docker save` and `skopeo copy … oci-archive:FILE` write it. Every
   * digest is checked and every layer made anew. Throws ARCHIVE_INVALID, ARCHIVE_CORRUPT or ARCHIVE_TOO_LARGE.
   *
   * @example
   * const fromFile = (file: string) => vm0.templates.fromImage('web', createReadStream(file), { promote: true })
   */
  fromImage(
    name: string,
    content: AsyncIterable<Uint8Array> | Uint8Array,
    { promote = false, ...options }: TemplateCallOptions & { promote?: boolean } = {},
  ): Promise<TemplateVersionView> {
    const body = (): RequestBody => (content instanceof Uint8Array ? content : webStreamOf(content)) as RequestBody
    const path = `/templates/${encodeURIComponent(name)}/image?promote=${promote}`
    return followBuild(this.http, path, { headers: { 'content-type': 'application/x-tar' }, body }, options)
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

/** What packs the folder is loaded then: most programs send none. */
async function sendFolder(http: Http, folder: string, signal?: AbortSignal): Promise<string> {
  const { sendContext } = await import('./transfer/send-context.js')
  return sendContext(http, folder, signal)
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
  content: Pick<RequestOptions, 'json' | 'body' | 'headers'>,
  { onOutput, signal }: TemplateCallOptions,
): Promise<TemplateVersionView> {
  const response = await http.request(path, { method: 'POST', ...content, signal, retry: false, patient: true })
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
