import type { CheckpointView } from '@vm0/contract/client'
import { uuidv7 } from 'uuidv7'
import { Diff, type DiffOptions } from './diff.js'
import type { Http } from './http.js'
import type { Page } from './page.js'
import { Session } from './session.js'

/**
 * What a fork is given of its own; without these it has those of the session that it comes from.
 *
 * @example
 * const { id } = await session.checkpoints.latest()
 * await vm0.checkpoints.get(id).fork({ labels: { idea: 'two' } })
 */
export interface ForkOptions {
  labels?: Record<string, string>
  resources?: { memoryMiB?: number; cpus?: number; diskMiB?: number; processes?: number }
}

/**
 * A state of a session that can be gone back to: its conversation, files and installed software at one instant.
 *
 * @example
 * const checkpoint = await session.checkpoints.latest()
 * const fork = await checkpoint.fork()
 * await fork.run('try it in another way')
 */
export class Checkpoint {
  /** @internal */
  constructor(
    private readonly http: Http,
    /**
     * `sha256:…`: two checkpoints with the same id are the same state.
     *
     * @example
     * console.log((await session.checkpoints.latest()).id)
     */
    readonly id: string,
    private known?: CheckpointView,
  ) {}

  /**
   * What is known of it: the run and the tool calls that led to it, what it changed, whether the session stands there,
   * which sessions were forked from it. Throws CHECKPOINT_NOT_FOUND.
   *
   * @example
   * const { cause, toolCalls, changedFiles } = await (await session.checkpoints.latest()).get()
   */
  async get(): Promise<CheckpointView> {
    const known = this.known ?? (await this.http.json<CheckpointView>(`/checkpoints/${this.id}`))
    this.known = undefined
    return known
  }

  /**
   * A new session that begins here, with the conversation. It shares what it has with the session that it comes from, so
   * it costs nothing, and changes nothing there.
   *
   * @example
   * const start = await session.checkpoints.latest()
   * const forks = await Promise.all([start.fork(), start.fork()])
   */
  async fork(options: ForkOptions = {}): Promise<Session> {
    const id = uuidv7()
    await this.http.json('/sessions', { method: 'POST', json: { ...options, id, from: this.id } })
    return new Session(this.http, id)
  }

  /**
   * What it has that another checkpoint has not, or has otherwise: files added, changed and removed, and with `patch` a
   * unified diff of each text file. Without another one it is compared with the one before it; one that a run ended with,
   * with what was there before the run. Nothing is started for it. Throws CHECKPOINT_NOT_FOUND.
   *
   * @example
   * const checkpoint = await session.checkpoints.latest()
   * for (const { change, path } of (await checkpoint.diff()).items) console.log(change, path)
   *
   * @example
   * const mine = await session.checkpoints.latest()
   * const other = await (await mine.fork()).checkpoints.latest()
   * const { items } = await mine.diff(other, { path: '/workspace/README.md', patch: true })
   * console.log(items[0]?.patch)
   */
  diff(other?: Checkpoint | string, options: DiffOptions = {}): Diff {
    return new Diff(this.http, this.id, typeof other === 'object' ? other.id : other, options)
  }
}

/**
 * The checkpoints of one session.
 *
 * @example
 * for (const checkpoint of (await session.checkpoints.list()).items) console.log(checkpoint.id)
 */
export class SessionCheckpoints {
  /** @internal */
  constructor(
    private readonly http: Http,
    private readonly sessionId: string,
    private readonly made: () => Promise<unknown>,
  ) {}

  /**
   * The newest first. Those of a fork begin with the one that it was forked from.
   *
   * @example
   * const { items, next } = await session.checkpoints.list({ limit: 20 })
   */
  async list(options: { limit?: number; before?: string } = {}): Promise<Page<Checkpoint>> {
    const { items, next } = await this.views(options)
    return { items: items.map((view) => new Checkpoint(this.http, view.id, view)), next }
  }

  /** @internal The same with what is known of each. */
  async views({ limit = 50, before }: { limit?: number; before?: string } = {}): Promise<Page<CheckpointView>> {
    await this.made()
    const query = new URLSearchParams({ limit: String(limit), ...(before ? { before } : {}) })
    return this.http.json(`/sessions/${this.sessionId}/checkpoints?${query}`)
  }

  /**
   * Where the session stands: what its next run begins with. Throws CHECKPOINT_NOT_FOUND where nothing was saved yet.
   *
   * @example
   * const { id } = await session.checkpoints.latest()
   */
  async latest(): Promise<Checkpoint> {
    await this.made()
    const { head } = await this.http.json<{ head: string | null }>(`/sessions/${this.sessionId}`)
    // A session without a head has nothing to give; one that has a sandbox is saved for it.
    return head ? new Checkpoint(this.http, head) : this.create()
  }

  /**
   * Saves the session as it is now, under a name where one is given, and keeps its sandbox. Throws SESSION_BUSY while a run
   * is at work.
   *
   * @example
   * const before = await session.checkpoints.create({ name: 'before the migration' })
   */
  async create(options: { name?: string } = {}): Promise<Checkpoint> {
    await this.made()
    const view = await this.http.json<CheckpointView>(`/sessions/${this.sessionId}/checkpoints`, {
      method: 'POST',
      json: options,
      patient: true,
    })
    return new Checkpoint(this.http, view.id, view)
  }
}
