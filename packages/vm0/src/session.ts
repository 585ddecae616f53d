import {
  Vm0Error,
  type CreateRun,
  type ExecOutput,
  type ExecRequest,
  type SessionView,
  type TemplateVersionView,
  type UpgradeReport,
} from '@vm0/contract/client'
import { uuidv7 } from 'uuidv7'
import { SessionCheckpoints, type Checkpoint, type ForkOptions } from './checkpoint.js'
import { lineError, linesOf, type Http } from './http.js'
import { Run } from './run.js'
import { SessionFiles } from './session-files.js'
import { exportSession } from './transfer/archive.js'
import { followBuild, type ToTemplateOptions } from './templates.js'
import { sendWorkspace } from './transfer/send-workspace.js'

/**
 * What a run is told. Only the prompt is needed.
 *
 * @example
 * const run = vm0.run({ prompt: 'make the tests pass', workspace: '.', limits: { timeoutMs: 600_000 } })
 */
export interface RunOptions extends Omit<CreateRun, 'id' | 'sessionId' | 'newSession' | 'workspaceUpload' | 'from'> {
  /** Continue this session; a new one otherwise. */
  session?: Session | string
  /** Begin a new session at this checkpoint, with its conversation: the same state may be tried in many ways at once. */
  from?: Checkpoint | string
  /** A local folder that is put into /workspace first, without what its .gitignore excludes. */
  workspace?: string
  /** Aborting cancels the run; aborted before, nothing is sent. */
  signal?: AbortSignal
}

/**
 * How a command is run: `cwd` (default /workspace), `env`, `stdin` (text), `timeoutMs` (default 600000).
 *
 * @example
 * const { stdout } = await session.exec('cat; pwd', { stdin: 'hello', cwd: '/tmp' })
 */
export interface ExecOptions extends Omit<ExecRequest, 'command'> {
  /** Aborting ends the command. */
  signal?: AbortSignal
}

/**
 * What a command gave.
 *
 * @example
 * const { exitCode, stdout, stderr } = await session.exec('ls -la')
 */
export interface ExecResult {
  /** As a shell gives it: 128 + signal for a command that was killed. */
  exitCode: number
  stdout: string
  stderr: string
}

/**
 * What of a session goes into its file.
 *
 * @example
 * const small = await session.export({ withoutTemplate: true })
 */
export interface ExportOptions {
  /** Leave out what the session was made from: it can be imported where that is known, or onto another template. */
  withoutTemplate?: boolean
  /** Aborting ends it. */
  signal?: AbortSignal
}

/**
 * A session: conversation, files and installed software that stay. What needs a sandbox brings one back by itself.
 *
 * @example
 * const session = await vm0.sessions.create()
 * await session.run('write a haiku into haiku.txt')
 * console.log(await session.exec('cat haiku.txt'))
 */
export class Session {
  /**
   * The files in its sandbox.
   *
   * @example
   * await session.files.write('/workspace/note.txt', 'hello')
   */
  readonly files: SessionFiles
  /**
   * The states that it can go back to.
   *
   * @example
   * const { items } = await session.checkpoints.list()
   */
  readonly checkpoints: SessionCheckpoints
  /** Settles when the runs that were started until now have been taken; whether the server has the session then. */
  private made: Promise<boolean>

  /** @internal */
  constructor(
    private readonly http: Http,
    /**
     * Known at once (UUIDv7); keep it to go on with the session later: `vm0.sessions.get(id)`.
     *
     * @example
     * console.log(session.id)
     */
    readonly id: string,
    { isNew = false } = {},
  ) {
    this.made = Promise.resolve(!isNew)
    this.files = new SessionFiles(http, id, () => this.made)
    this.checkpoints = new SessionCheckpoints(http, id, () => this.made)
  }

  /**
   * The next prompt in this session; runs of one session follow one another in order.
   *
   * @example
   * await session.run('write a haiku')
   * await session.run({ prompt: 'and one more', limits: { timeoutMs: 60_000 } })
   */
  run(prompt: string | Omit<RunOptions, 'session' | 'from'>): Run {
    return this.start(typeof prompt === 'string' ? { prompt } : prompt)
  }

  /** @internal */
  start({ workspace, signal, from, ...options }: Omit<RunOptions, 'session'>): Run {
    const id = uuidv7()
    const before = this.made
    const send = async (): Promise<void> => {
      if (signal?.aborted) throw new Vm0Error('CANCELLED', 'the run was aborted by its signal before it was sent')
      const workspaceUpload = await sendWorkspace(this.http, workspace, signal)
      const body: CreateRun = {
        ...options,
        ...fromOf(from),
        id,
        sessionId: this.id,
        newSession: !(await before),
        ...(workspaceUpload ? { workspaceUpload } : {}),
      }
      await this.http.json('/runs', { method: 'POST', json: body })
    }
    const accepted = send()
    this.made = accepted.then(
      () => true,
      () => before,
    )
    return new Run(this.http, id, this, accepted, signal)
  }

  /**
   * The session as one file, as it comes: conversation, files and installed software, as an OCI image layout in a tar. Another
   * VM0 takes it in by `vm0.sessions.import`. Without its template it is as small as what the session has over it, and can be
   * imported only where that template is known, or onto another one. Throws SESSION_BUSY while a run is at work.
   *
   * @example
   * for await (const bytes of await session.export()) process.stdout.write(bytes)
   */
  async export({ withoutTemplate = false, signal }: ExportOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    await this.made
    return exportSession(this.http, this.id, !withoutTemplate, signal)
  }

  /**
   * The session as the server knows it now. Throws NOT_FOUND or SESSION_DELETED.
   *
   * @example
   * const { state, head } = await session.get()
   */
  async get(): Promise<SessionView> {
    await this.made
    return this.http.json<SessionView>(`/sessions/${this.id}`)
  }

  /**
   * Runs a command in the session's sandbox and collects its output. A string is run by `sh -c`, a list as it is.
   *
   * @example
   * const { exitCode, stdout } = await session.exec('node --version')
   * await session.exec(['ls', '-la', '/workspace'])
   */
  async exec(command: readonly string[] | string, options: ExecOptions = {}): Promise<ExecResult> {
    const result: ExecResult = { exitCode: -1, stdout: '', stderr: '' }
    for await (const part of this.execStream(command, options)) {
      if (part.type === 'exit') result.exitCode = part.exitCode
      else result[part.type] += part.text
    }
    return result
  }

  /**
   * Runs a command and gives its output as it comes; the last part has the exit code.
   *
   * @example
   * for await (const part of session.execStream('echo working; sleep 1; echo done'))
   *   if (part.type === 'stdout') process.stdout.write(part.text)
   */
  async *execStream(
    command: readonly string[] | string,
    { signal, ...options }: ExecOptions = {},
  ): AsyncGenerator<Exclude<ExecOutput, { type: 'error' }>> {
    await this.made
    const response = await this.http.request(`/sessions/${this.id}/exec`, {
      method: 'POST',
      json: { ...options, command: typeof command === 'string' ? ['sh', '-c', command] : command },
      signal,
      retry: false,
      patient: true,
    })
    let ended = false
    // Read to its end: then the server has let go of the session too.
    for await (const part of linesOf<ExecOutput>(response, signal)) {
      if (part.type === 'error') throw lineError(part)
      yield part
      ended ||= part.type === 'exit'
    }
    if (!ended)
      throw new Vm0Error('SERVER_UNREACHABLE', 'the answer ended before the command did', {
        hint: 'The server stopped meanwhile: look whether the command did its work, then run it again.',
      })
  }

  /**
   * A new session that begins where this one stands now, with its conversation; while a run is at work, where it was saved
   * last. Costs nothing.
   *
   * @example
   * const fork = await session.fork()
   */
  async fork(options: ForkOptions = {}): Promise<Session> {
    const now = this.checkpoints.create().catch((error: unknown) => {
      if (error instanceof Vm0Error && error.code === 'SESSION_BUSY') return this.checkpoints.latest()
      throw error
    })
    return (await now).fork(options)
  }

  /**
   * Goes back (or forth) to one of its checkpoints: files, software and conversation. What it has now is saved before, so
   * that this can be undone. Throws SESSION_BUSY, CHECKPOINT_NOT_FOUND or CHECKPOINT_OF_ANOTHER_SESSION.
   *
   * @example
   * const before = await session.checkpoints.create()
   * await session.exec('rm -rf /workspace/*')
   * await session.rollback(before)
   */
  async rollback(checkpoint: Checkpoint | string): Promise<void> {
    await this.made
    await this.http.json(`/sessions/${this.id}/rollback`, {
      method: 'POST',
      json: { checkpoint: typeof checkpoint === 'string' ? checkpoint : checkpoint.id },
      patient: true,
    })
  }

  /**
   * Makes a version of a template of what the session has now: files, software and the working directory, without its
   * conversation. Throws SESSION_BUSY or CHECKPOINT_NOT_FOUND.
   *
   * @example
   * const { name, version } = await session.toTemplate('web')
   * const other = await vm0.sessions.create({ template: `${name}@${version}` })
   */
  async toTemplate(name: string, { onOutput, signal, ...facts }: ToTemplateOptions = {}): Promise<TemplateVersionView> {
    await this.made
    const call = { ...(onOutput ? { onOutput } : {}), ...(signal ? { signal } : {}) }
    return followBuild(this.http, `/sessions/${this.id}/template`, { json: { ...facts, name } }, call)
  }

  /**
   * Moves the session to another template: files, installed software and conversation stay, as layers over the new one, and
   * a rollback to `before` undoes it. `shadowed` are the files that are otherwise in the new template, and that the session
   * goes on seeing as it has them; `merged` lists of packages have those of both. With `dryRun` nothing is moved. Throws SESSION_BUSY or UNKNOWN_TEMPLATE.
   *
   * @example
   * const { shadowed } = await session.upgrade('web', { dryRun: true })
   * for (const { path } of shadowed.items) console.log(path)
   */
  async upgrade(template: string, { dryRun = false }: { dryRun?: boolean } = {}): Promise<UpgradeReport> {
    await this.made
    const json = { template, dryRun }
    return this.http.json(`/sessions/${this.id}/upgrade`, { method: 'POST', json, patient: true })
  }

  /**
   * Brings its sandbox and agent back ahead of the next prompt, which then takes as long as if they had never gone.
   *
   * @example
   * await session.prewarm()
   */
  async prewarm(): Promise<void> {
    await this.made
    await this.http.json(`/sessions/${this.id}/prewarm`, { method: 'POST', patient: true })
  }

  /**
   * Saves the session and frees its sandbox now instead of after the idle time. Throws SESSION_BUSY while a run is at work.
   *
   * @example
   * await session.close()
   */
  async close(): Promise<void> {
    await this.made
    await this.http.json(`/sessions/${this.id}/close`, { method: 'POST', patient: true })
  }

  /**
   * Deletes the session with all that it holds. Throws SESSION_BUSY while a run is at work.
   *
   * @example
   * const scratch = await vm0.sessions.create()
   * await scratch.delete()
   */
  async delete(): Promise<void> {
    await this.made
    await this.http.json(`/sessions/${this.id}`, { method: 'DELETE' })
  }
}

export function fromOf(from: Checkpoint | string | undefined): { from?: string } {
  if (from === undefined) return {}
  return { from: typeof from === 'string' ? from : from.id }
}
