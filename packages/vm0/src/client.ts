import type { CreateSession, FrameworkView, KeyView, RunnerStatus, RunView, SessionView } from '@vm0/contract/client'
import { uuidv7 } from 'uuidv7'
import type { ClientOptions } from './config.js'
import { Http } from './http.js'
import { Run } from './run.js'
import { Session, type RunOptions } from './session.js'
import { sendWorkspace } from './send-workspace.js'

export interface Page<T> {
  items: T[]
  next: string | null
}
export interface PageOptions {
  limit?: number
  before?: string
  sessionId?: string
}

/** A client of one VM0 server. */
export class Vm0 {
  private readonly http: Http

  constructor(options: ClientOptions = {}) {
    this.http = new Http(options)
  }

  /**
   * Starts a run and returns at once; its id and its session's are known already.
   *
   * @example
   * const { text } = await vm0.run({ framework: 'claude-code', prompt: 'buy me a coffee' })
   */
  run({ session, ...options }: RunOptions): Run {
    const target =
      session === undefined
        ? new Session(this.http, uuidv7(), { isNew: true })
        : typeof session === 'string'
          ? new Session(this.http, session)
          : session
    return target.run(options)
  }

  readonly sessions = {
    /** Makes an empty session, to upload into or to run commands in before the first prompt. */
    create: async ({
      workspace,
      ...options
    }: Omit<CreateSession, 'id' | 'workspaceUpload'> & { workspace?: string } = {}): Promise<Session> => {
      const id = uuidv7()
      const workspaceUpload = await sendWorkspace(this.http, workspace)
      await this.http.json('/sessions', {
        method: 'POST',
        json: { ...options, id, ...(workspaceUpload ? { workspaceUpload } : {}) },
      })
      return new Session(this.http, id)
    },
    get: (id: string): Session => new Session(this.http, id),
    list: (options: PageOptions = {}): Promise<Page<SessionView>> => this.http.json(`/sessions${query(options)}`),
  }

  readonly runs = {
    /** Picks up a run, for example in another program. Asks nothing yet; `session` is known after `await run.get()`. */
    get: (id: string): Run => new Run(this.http, id, undefined, Promise.resolve()),
    list: (options: PageOptions = {}): Promise<Page<RunView>> => this.http.json(`/runs${query(options)}`),
  }

  readonly keys = {
    create: (name: string): Promise<KeyView> =>
      this.http.json('/keys', { method: 'POST', json: { name }, retry: false }),
    list: async (): Promise<KeyView[]> => (await this.http.json<{ items: KeyView[] }>('/keys')).items,
    revoke: (id: string): Promise<void> => this.http.json(`/keys/${id}`, { method: 'DELETE' }),
  }

  readonly runners = {
    /** The hosts that carry sandboxes, and what they have at this moment. */
    list: async (): Promise<RunnerStatus[]> => (await this.http.json<{ items: RunnerStatus[] }>('/runners')).items,
  }

  readonly frameworks = {
    list: async (): Promise<FrameworkView[]> => (await this.http.json<{ items: FrameworkView[] }>('/frameworks')).items,
  }
}

export function createClient(options: ClientOptions = {}): Vm0 {
  return new Vm0(options)
}

function query(options: PageOptions): string {
  const entries = Object.entries(options)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]): [string, string] => [name, String(value)])
  return entries.length > 0 ? `?${new URLSearchParams(entries)}` : ''
}
