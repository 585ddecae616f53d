import {
  Vm0Error,
  type CreateRun,
  type ExecOutput,
  type ExecRequest,
  type FileEntry,
  type SessionView,
} from '@vm0/contract/client'
import type { Http, RequestBody } from './http.js'
import { Run } from './run.js'
import { sendWorkspace } from './send-workspace.js'
import { uuidv7 } from 'uuidv7'

export interface RunOptions extends Omit<CreateRun, 'id' | 'sessionId' | 'newSession' | 'workspaceUpload'> {
  /** Continue this session; a new one otherwise. */
  session?: Session | string
  /** A local folder that is put into /workspace first, without what its .gitignore excludes. */
  workspace?: string
  /** Aborting cancels the run. */
  signal?: AbortSignal
}

export interface ExecResult {
  exitCode: number
  stdout: string
  stderr: string
}

/** A session: conversation, files and installed software that stay. What needs a sandbox brings one back by itself. */
export class Session {
  readonly files: SessionFiles
  /** Whether the server has it yet: false until the first run or command makes it. */
  private isNew: boolean

  constructor(
    private readonly http: Http,
    readonly id: string,
    { isNew = false } = {},
  ) {
    this.isNew = isNew
    this.files = new SessionFiles(http, id)
  }

  /** The next prompt in this session; runs of one session follow one another. */
  run(prompt: string | Omit<RunOptions, 'session'>): Run {
    const { workspace, signal, ...options } =
      typeof prompt === 'string' ? ({ prompt } as RunOptions) : ({ ...prompt } as RunOptions)
    const id = uuidv7()
    const newSession = this.isNew
    this.isNew = false
    const accepted = (async () => {
      const workspaceUpload = await sendWorkspace(this.http, workspace, signal)
      const body: CreateRun = {
        ...options,
        id,
        sessionId: this.id,
        newSession,
        ...(workspaceUpload ? { workspaceUpload } : {}),
      }
      await this.http.json('/runs', { method: 'POST', json: body })
    })()
    return new Run(this.http, id, this, accepted, signal)
  }

  get(): Promise<SessionView> {
    return this.http.json<SessionView>(`/sessions/${this.id}`)
  }

  /** Runs a command in the session's sandbox and collects its output. */
  async exec(
    command: readonly string[] | string,
    options: Omit<ExecRequest, 'command'> & { signal?: AbortSignal } = {},
  ): Promise<ExecResult> {
    const result: ExecResult = { exitCode: -1, stdout: '', stderr: '' }
    for await (const part of this.execStream(command, options)) {
      if (part.type === 'exit') result.exitCode = part.exitCode
      else result[part.type] += part.text
    }
    return result
  }

  /** Runs a command and gives its output as it comes; the last part has the exit code. A string is run by `sh -c`. */
  async *execStream(
    command: readonly string[] | string,
    { signal, ...options }: Omit<ExecRequest, 'command'> & { signal?: AbortSignal } = {},
  ): AsyncGenerator<Exclude<ExecOutput, { type: 'error' }>> {
    const json = { ...options, command: typeof command === 'string' ? ['sh', '-c', command] : command }
    const response = await this.http.request(`/sessions/${this.id}/exec`, {
      method: 'POST',
      json,
      signal,
      retry: false,
    })
    for await (const line of lines(response)) {
      const part = JSON.parse(line) as ExecOutput
      if (part.type === 'error') throw new Vm0Error(part.code as 'EXEC_FAILED', part.message, { hint: part.hint })
      yield part
    }
  }

  /** Saves the session and frees its sandbox now instead of after the idle time. */
  async close(): Promise<void> {
    await this.http.json(`/sessions/${this.id}/close`, { method: 'POST' })
  }

  /** Deletes the session with all that it holds. */
  async delete(): Promise<void> {
    await this.http.json(`/sessions/${this.id}`, { method: 'DELETE' })
  }
}

/** Files in the session's sandbox, by absolute path. */
export class SessionFiles {
  constructor(
    private readonly http: Http,
    private readonly sessionId: string,
  ) {}

  async read(path: string): Promise<Uint8Array> {
    return new Uint8Array(await (await this.http.request(this.url('files', path))).arrayBuffer())
  }
  async readText(path: string): Promise<string> {
    return new TextDecoder().decode(await this.read(path))
  }
  async write(path: string, content: string | Uint8Array): Promise<void> {
    await this.http.request(this.url('files', path), {
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream' },
      body: () => content as RequestBody,
    })
  }
  async list(path = '/workspace'): Promise<FileEntry[]> {
    return (await this.http.json<{ items: FileEntry[] }>(this.url('entries', path))).items
  }
  async remove(path: string): Promise<void> {
    await this.http.json(this.url('files', path), { method: 'DELETE' })
  }

  private url(kind: 'files' | 'entries', path: string): string {
    if (!path.startsWith('/')) throw new Vm0Error('FILE_INVALID', `path ${path}: expected an absolute one`)
    return `/sessions/${this.sessionId}/${kind}/${path.slice(1).split('/').map(encodeURIComponent).join('/')}`
  }
}

async function* lines(response: Response): AsyncGenerator<string> {
  let rest = ''
  for await (const text of response.body!.pipeThrough(new TextDecoderStream()) as unknown as AsyncIterable<string>) {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    yield* parts
  }
  if (rest) yield rest
}
