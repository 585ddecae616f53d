import {
  type Comparison,
  type CreateKey,
  type CreateSession,
  type CreateToken,
  type Insights,
  type InsightsQuery,
  type KeyView,
  type LiveSandbox,
  type RunnerStatus,
  type RunView,
  type SessionView,
  type TokenView,
} from '@vm0/contract/client'
import { uuidv7 } from 'uuidv7'
import type { ClientOptions } from './config.js'
import { Frameworks } from './frameworks.js'
import { Http } from './http.js'
import { Checkpoint } from './checkpoint.js'
import { query, type Page, type PageOptions, type RunListOptions } from './page.js'
import { Projects } from './projects.js'
import { Run } from './run.js'
import { fromOf, Session, type RunOptions } from './session.js'
import { Store } from './store.js'
import { Templates } from './templates.js'
import { importSession } from './transfer/archive.js'
import { sendWorkspace } from './transfer/send-workspace.js'
import { Webhooks } from './webhooks.js'

/**
 * What a session is made with: `template`, `resources`, `labels`.
 *
 * @example
 * await vm0.sessions.create({ workspace: '.', resources: { memoryMiB: 4096 }, labels: { team: 'web' } })
 */
export interface SessionOptions extends Omit<CreateSession, 'id' | 'workspaceUpload' | 'from'> {
  /** A local folder that is put into /workspace, without what its .gitignore excludes. */
  workspace?: string
  /** Begin at this checkpoint, with its conversation. */
  from?: Checkpoint | string
}

/**
 * A client of one VM0 server.
 *
 * @example
 * const client = new Vm0({ url: 'http://127.0.0.1:7300', apiKey: 'vm0_…' })
 */
export class Vm0 {
  private readonly http: Http

  /**
   * The store behind all sessions: for the operator of an installation.
   *
   * @example
   * const { problems } = await vm0.store.fsck()
   */
  readonly store: Store

  /**
   * The agents that the server can run.
   *
   * @example
   * const frameworks = await vm0.frameworks.list()
   */
  readonly frameworks: Frameworks

  /**
   * What sessions begin with, in versions.
   *
   * @example
   * const { items } = await vm0.templates.list()
   */
  readonly templates: Templates

  /**
   * Who is told how runs end.
   *
   * @example
   * const hooks = await vm0.webhooks.list()
   */
  readonly webhooks: Webhooks

  /**
   * The same as `createClient(options)`.
   *
   * @example
   * const client = new Vm0({ url: 'http://127.0.0.1:7300', apiKey: 'vm0_…' })
   */
  constructor(options: ClientOptions = {}) {
    this.http = new Http(options)
    this.store = new Store(this.http)
    this.frameworks = new Frameworks(this.http)
    this.projects = new Projects(this.http)
    this.templates = new Templates(this.http)
    this.webhooks = new Webhooks(this.http)
  }

  /**
   * Starts a run and returns at once; its id and its session's are known already, and sending it again after a failure
   * is safe.
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
    return target.start(options)
  }

  /**
   * Sessions of the key's project.
   *
   * @example
   * const { items } = await vm0.sessions.list()
   */
  readonly sessions = {
    /**
     * Makes an empty session, to upload into or to run commands in before the first prompt.
     *
     * @example
     * const session = await vm0.sessions.create({ workspace: '.' })
     */
    create: async ({ workspace, from, ...options }: SessionOptions = {}): Promise<Session> => {
      const id = uuidv7()
      const workspaceUpload = await sendWorkspace(this.http, workspace)
      await this.http.json('/sessions', {
        method: 'POST',
        json: { ...options, id, ...fromOf(from), ...(workspaceUpload ? { workspaceUpload } : {}) },
      })
      return new Session(this.http, id)
    },

    /**
     * A session by its id. Asks nothing yet.
     *
     * @example
     * const again = vm0.sessions.get(session.id)
     */
    get: (id: string): Session => new Session(this.http, id),

    /**
     * Sessions, the newest first.
     *
     * @example
     * for (const { id, state } of (await vm0.sessions.list({ limit: 10 })).items) console.log(id, state)
     */
    list: (options: PageOptions = {}): Promise<Page<SessionView>> => this.http.json(`/sessions${query(options)}`),

    /**
     * Makes a session of what `session.export()` gave, here or on another VM0; it keeps its id where that is free. Throws
     * ARCHIVE_INVALID, ARCHIVE_CORRUPT, ARCHIVE_TOO_LARGE, VERSION_UNSUPPORTED, or UNKNOWN_TEMPLATE where its template is
     * neither in it nor known here: `template` names another one that it goes on with.
     *
     * @example
     * const copy = await vm0.sessions.import(await session.export())
     */
    import: async (
      content: AsyncIterable<Uint8Array> | Uint8Array,
      { template, signal }: { template?: string; signal?: AbortSignal } = {},
    ): Promise<Session> => new Session(this.http, await importSession(this.http, content, template, signal)),
  }

  /**
   * Runs of the key's project.
   *
   * @example
   * const { items } = await vm0.runs.list()
   */
  readonly runs = {
    /**
     * Picks up a run, for example in another program. Asks nothing yet: its `session` is known after `await run`,
     * `run.get()` or `run.result()`.
     *
     * @example
     * const { id } = await vm0.run({ prompt: 'say hello' }).get()
     * const { outcome, session } = await vm0.runs.get(id).result()
     */
    get: (id: string): Run => new Run(this.http, id, undefined, null),

    /**
     * Runs, the newest first.
     *
     * @example
     * for (const { id, state, costUsd } of (await vm0.runs.list()).items) console.log(id, state, costUsd)
     */
    list: (options: RunListOptions = {}): Promise<Page<RunView>> => this.http.json(`/runs${query(options)}`),

    /**
     * Two runs beside each other: what they were given that differs, figures, findings, and which tool calls one has that the
     * other has not.
     *
     * @example
     * const [a, b] = [await vm0.run({ prompt: 'say hello' }), await vm0.run({ prompt: 'say hello' })]
     * const { items } = await vm0.runs.list({ limit: 2 })
     * const { settings, figures } = await vm0.runs.compare(items[0].id, items[1].id)
     */
    compare: (a: string, b: string): Promise<Comparison> => this.http.json(`/runs/${a}/compare/${b}`),
  }

  /**
   * Runs that have ended, by what they have in common: `label:NAME`, `template`, `release` (the agent and its version) or
   * `model`. Success, time, cost, tool failures and findings of each group, with 95% intervals, and how it differs from the
   * largest.
   *
   * @example
   * const { cohorts } = await vm0.insights({ by: 'model', limit: 100 })
   * for (const { value, runs, success } of cohorts) console.log(value, runs, success.value, success.low, success.high)
   */
  insights({ since, ...options }: Omit<InsightsQuery, 'since'> & { since?: Date | string }): Promise<Insights> {
    return this.http.json(`/insights${query({ ...options, since })}`)
  }

  /**
   * Checkpoints of the key's project.
   *
   * @example
   * const { id } = await session.checkpoints.latest()
   * const checkpoint = vm0.checkpoints.get(id)
   */
  readonly checkpoints = {
    /**
     * A checkpoint by its id. Asks nothing yet.
     *
     * @example
     * const { id } = await session.checkpoints.latest()
     * const fork = await vm0.checkpoints.get(id).fork()
     */
    get: (id: string): Checkpoint => new Checkpoint(this.http, id),
  }

  /**
   * API keys of the key's project.
   *
   * @example
   * const keys = await vm0.keys.list()
   */
  readonly keys = {
    /**
     * Makes a key; `key` in the answer is shown this once. By default it may read and write in this client's project, until
     * it is revoked.
     *
     * @example
     * const { id, key } = await vm0.keys.create('ci', { scopes: ['read'], expiresInMs: 7 * 86_400_000 })
     */
    create: (name: string, options: Omit<CreateKey, 'name'> = {}): Promise<KeyView> =>
      this.http.json('/keys', { method: 'POST', json: { ...options, name }, retry: false }),

    /**
     * All keys of the project, also revoked ones, without the keys themselves; the newest first.
     *
     * @example
     * for (const { id, name, revokedAt } of await vm0.keys.list()) console.log(id, name, revokedAt)
     */
    list: async (): Promise<KeyView[]> => {
      const all: KeyView[] = []
      for (let before: string | null | undefined; before !== null;) {
        const page: Page<KeyView> = await this.http.json(`/keys${query({ limit: 200, ...(before ? { before } : {}) })}`)
        all.push(...page.items)
        before = page.next
      }
      return all
    },

    /**
     * Ends a key at once, with the tokens that it made. Throws NOT_FOUND.
     *
     * @example
     * const { id } = await vm0.keys.create('for an hour')
     * await vm0.keys.revoke(id)
     */
    revoke: (id: string): Promise<void> => this.http.json(`/keys/${id}`, { method: 'DELETE' }),
  }

  /**
   * Short-lived tokens for browsers.
   *
   * @example
   * const { token } = await vm0.tokens.create()
   */
  readonly tokens = {
    /**
     * A token for a browser: it reads runs, sessions and events (of one run or session where that is named), for at most an
     * hour. `new EventSource(url + '/v1/runs/' + id + '/events?token=' + token)` follows a run with it.
     *
     * @example
     * const { token, expiresAt } = await vm0.tokens.create()
     */
    create: (options: CreateToken = {}): Promise<TokenView> =>
      this.http.json('/tokens', { method: 'POST', json: options, retry: false }),
  }

  /**
   * Projects: nothing of one is visible to another.
   *
   * @example
   * const { items } = await vm0.projects.list()
   */
  readonly projects: Projects

  /**
   * The hosts that carry sandboxes.
   *
   * @example
   * const [host] = await vm0.runners.list()
   */
  readonly runners = {
    /**
     * The hosts that carry sandboxes, and what they have at this moment.
     *
     * @example
     * for (const { id, warm, sessions } of await vm0.runners.list()) console.log(id, warm, sessions)
     */
    list: async (): Promise<RunnerStatus[]> => (await this.http.json<{ items: RunnerStatus[] }>('/runners')).items,
  }

  /**
   * The sandboxes that sessions have at this moment.
   *
   * @example
   * const busy = (await vm0.sandboxes.list()).filter(({ state }) => state === 'working')
   */
  readonly sandboxes = {
    /**
     * The sandboxes that the project's sessions have at this moment: what each does, its memory and CPU.
     *
     * @example
     * for (const { sessionId, doing, memoryBytes } of await vm0.sandboxes.list()) console.log(sessionId, doing, memoryBytes)
     */
    list: async (): Promise<LiveSandbox[]> => (await this.http.json<{ items: LiveSandbox[] }>('/sandboxes')).items,
  }
}

/**
 * A client of another server than the default one, or with other settings.
 *
 * @example
 * const client = createClient({ url: 'http://127.0.0.1:7300', apiKey: 'vm0_…', retries: 10 })
 */
export function createClient(options: ClientOptions = {}): Vm0 {
  return new Vm0(options)
}
