import {
  Vm0Error,
  type BuildTemplateParsed,
  type IncomingImage,
  type SessionRef,
  type TemplateFacts,
  type TemplateOutput,
  type TemplateVersionView,
} from '@vm0/contract'
import { uuidv7 } from 'uuidv7'
import type { ServerOptions } from '../options.js'
import type { Sessions } from '../sessions.js'
import { contextPath } from './dockerfile/index.js'
import { planBuild, type BuildStep } from './recipe-steps.js'
import type { Templates } from './templates.js'

export interface BuildCall {
  /** Is told what the build does as it does it. */
  say(output: Extract<TemplateOutput, { type: 'step' | 'output' | 'progress' }>): Promise<void>
  signal: AbortSignal
}

const stepTimeoutMs = 3_600_000
/** Of a failed step's output, what its error repeats. */
const keptOutput = 2000

/**
 * Builds templates: the steps run in a sandbox like any session's, as confined as an agent is, in a session that nobody sees.
 * What it has at the end becomes the template; the session goes in any case.
 */
export class TemplateBuilds {
  constructor(
    private readonly options: ServerOptions,
    private readonly sessions: Sessions,
    private readonly templates: Templates,
  ) {}

  /** Throws TEMPLATE_STEP_FAILED, UNKNOWN_TEMPLATE, or what keeps a sandbox from being made; then nothing is left. */
  async build(
    projectId: string,
    name: string,
    recipe: BuildTemplateParsed,
    call: BuildCall,
  ): Promise<TemplateVersionView> {
    const { promote, context } = recipe
    const plan = planBuild(recipe)
    if (plan.usesContext && context === undefined)
      throw new Vm0Error(
        'DOCKERFILE_INVALID',
        'the Dockerfile copies files, and no folder came along; expected context',
      )
    const { id, below, ref } = await this.open(projectId, plan.from, recipe)
    try {
      for (const message of plan.notes) await call.say({ type: 'progress', message })
      if (plan.usesContext && context !== undefined) await this.unpack(ref, context)
      await this.run(ref, plan.steps, call)
      await this.options.runner.close(ref)
      const { head } = await this.sessions.row(projectId, id)
      const facts = {
        env: { ...below.env, ...plan.env },
        resources: { ...below.resources, ...recipe.resources },
        origin: { ...plan.origin, base: below.digest },
      }
      return await this.make({ projectId, name, base: below.digest, checkpoint: head, facts, promote }, call)
    } finally {
      await this.sessions.remove(projectId, id)
    }
  }

  /** Makes a version of what a session has now: files and software, not its conversation. Throws SESSION_BUSY or CHECKPOINT_NOT_FOUND. */
  async fromSession(
    { projectId, sessionId }: SessionRef,
    {
      name,
      env = {},
      resources,
      promote,
    }: {
      name: string
      env?: TemplateFacts['env'] | undefined
      resources?: TemplateFacts['resources'] | undefined
      promote: boolean
    },
    call: BuildCall,
  ): Promise<TemplateVersionView> {
    await this.sessions.requireIdle(projectId, sessionId)
    await this.options.runner.save({ projectId, sessionId })
    const row = await this.sessions.row(projectId, sessionId)
    const { head, template: base } = row
    if (!head)
      throw new Vm0Error('CHECKPOINT_NOT_FOUND', `session ${sessionId} has nothing of its own: it never had a sandbox`)
    const { env: below } = await this.templates.resolve(projectId, base, this.options.database.db)
    const facts = {
      env: { ...below, ...env },
      resources: resources ?? (row.resources as TemplateFacts['resources']),
      origin: { kind: 'session' as const, base, session: sessionId },
    }
    return this.make({ projectId, name, base, checkpoint: head, facts, promote }, call)
  }

  /** Makes a version of an OCI image that came in. */
  async fromImage(
    projectId: string,
    name: string,
    { image, promote }: { image: IncomingImage; promote: boolean },
    { say, signal }: BuildCall,
  ): Promise<TemplateVersionView> {
    const facts = { env: image.env, resources: {}, origin: { kind: 'image' as const, base: null } }
    await say({ type: 'progress', message: 'making the image' })
    const stored = await image.store(projectId, facts, signal)
    return this.templates.add(projectId, name, { stored, facts, promote })
  }

  /** Ends what an earlier process was building: nobody waits for it any more. */
  async sweep(): Promise<void> {
    const left = await this.options.database.db
      .selectFrom('sessions')
      .select(['project_id', 'id'])
      .where('state', '=', 'open')
      .where('kind', '=', 'template_build')
      .execute()
    for (const { project_id, id } of left) await this.sessions.remove(project_id, id)
  }

  private async make(
    {
      projectId,
      name,
      base,
      checkpoint,
      facts,
      promote,
    }: {
      projectId: string
      name: string
      base: string
      checkpoint: string | null
      facts: TemplateFacts
      promote: boolean
    },
    { say, signal }: BuildCall,
  ): Promise<TemplateVersionView> {
    signal.throwIfAborted()
    await say({ type: 'progress', message: 'making the image' })
    const stored = await this.options.templates.make({ projectId, template: base, checkpoint, facts }, signal)
    return this.templates.add(projectId, name, { stored, facts, promote })
  }

  private open(projectId: string, from: string, { resources, context }: BuildTemplateParsed) {
    const id = uuidv7()
    return this.options.database.db.transaction().execute(async (trx) => {
      const below = await this.templates.resolve(projectId, from, trx)
      if (context !== undefined) await this.sessions.requireUpload(projectId, context, trx)
      const session = { id, template: below.digest, resources: { ...below.resources, ...resources } }
      await this.sessions.create(projectId, { ...session, kind: 'template_build' }, trx)
      return { id, below, ref: { projectId, sessionId: id } }
    })
  }

  /** Puts the folder of a Dockerfile where its steps copy from. */
  private async unpack(ref: SessionRef, context: string): Promise<void> {
    const tar = await this.options.blobs.read(`uploads/${ref.projectId}/${context.replace(':', '-')}`)
    await this.options.runner.writeTree(ref, contextPath, tar)
  }

  private async run(ref: SessionRef, steps: readonly BuildStep[], call: BuildCall): Promise<void> {
    for (const [at, step] of steps.entries()) {
      const { text, line } = step
      await call.say({
        type: 'step',
        index: at + 1,
        count: steps.length,
        text,
        ...(line === undefined ? {} : { line }),
      })
      await this.step(ref, step, `step ${at + 1} of ${steps.length}`, call)
    }
  }

  private async step(ref: SessionRef, step: BuildStep, which: string, { say, signal }: BuildCall): Promise<void> {
    const { command, cwd, env, text, line } = step
    let last = ''
    for await (const part of this.options.runner.exec(ref, { command, cwd, env, timeoutMs: stepTimeoutMs }, signal)) {
      if (part.type === 'stdout' || part.type === 'stderr') {
        last = (last + part.text).slice(-keptOutput)
        await say({ type: 'output', stream: part.type, text: part.text })
      } else if (part.type === 'exit' && part.exitCode !== 0) {
        const where = line === undefined ? '' : ` (line ${line})`
        const words = last.trim()
        throw new Vm0Error(
          'TEMPLATE_STEP_FAILED',
          `${which}${where}, ${JSON.stringify(text.slice(0, 200))}, ended with status ${part.exitCode}; ${words ? `its last words: ${words}` : 'it said nothing'}`,
          { details: { exitCode: part.exitCode, output: last, ...(line === undefined ? {} : { line }) } },
        )
      }
    }
    signal.throwIfAborted()
  }
}
