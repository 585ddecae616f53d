import type {
  CreateKey,
  CreateProject,
  CreateSession,
  CreateToken,
  FrameworkView,
  KeyView,
  ProjectView,
  RunnerStatus,
  RunView,
  SessionView,
  TokenView,
} from '@vm0/contract/client'
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
    /**
     * Makes a key; `key` in the answer is shown this once. By default it may read and write in this client's project, until
     * it is revoked.
     *
     * @example
     * const { key } = await vm0.keys.create('ci', { scopes: ['read'], expiresInMs: 7 * 86_400_000 })
     */
    create: (name: string, options: Omit<CreateKey, 'name'> = {}): Promise<KeyView> =>
      this.http.json('/keys', { method: 'POST', json: { ...options, name }, retry: false }),
    /** All keys of the project, the newest first. */
    list: async (): Promise<KeyView[]> => {
      const all: KeyView[] = []
      for (let before: string | null | undefined; before !== null;) {
        const page: Page<KeyView> = await this.http.json(`/keys${query({ limit: 200, ...(before ? { before } : {}) })}`)
        all.push(...page.items)
        before = page.next
      }
      return all
    },
    /** Ends a key with the tokens that it made. */
    revoke: (id: string): Promise<void> => this.http.json(`/keys/${id}`, { method: 'DELETE' }),
  }

  readonly runners = {
    /** The hosts that carry sandboxes, and what they have at this moment. */
    list: async (): Promise<RunnerStatus[]> => (await this.http.json<{ items: RunnerStatus[] }>('/runners')).items,
  }

  readonly tokens = {
    /**
     * A token for a browser: it reads runs, sessions and events (of one run or session where that is named), for at most an
     * hour. `new EventSource(url + '/v1/runs/' + id + '/events?token=' + token)` follows a run with it.
     *
     * @example
     * const { token, expiresAt } = await vm0.tokens.create({ runId: run.id })
     */
    create: (options: CreateToken = {}): Promise<TokenView> =>
      this.http.json('/tokens', { method: 'POST', json: options, retry: false }),
  }

  readonly projects = {
    /** Makes a project; needs a key with the scope `installation`, as `vm0 up` gives to its user. */
    create: (project: CreateProject): Promise<ProjectView> =>
      this.http.json('/projects', { method: 'POST', json: project }),
    list: (options: Omit<PageOptions, 'sessionId'> = {}): Promise<Page<ProjectView>> =>
      this.http.json(`/projects${query(options)}`),
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
