import type { ClaimedRun, RunRef } from '@vm0/contract'
import { sql } from 'kysely'
import type { ServerOptions } from './options.js'

const retryMs = 1_000

/** Hands queued runs to the runner: one at a time per session, in the order of their arrival. */
export class Dispatcher {
  private wanted = false
  private pumping: Promise<void> | undefined
  private closed = false
  /** The runner had no room for the last one: who comes next waits behind it. */
  private full = false
  private retry: NodeJS.Timeout | undefined
  private lastFull: string | undefined

  constructor(private readonly options: Pick<ServerOptions, 'database' | 'runner' | 'onError' | 'onRun'>) {}

  /** Something may be able to start now. */
  wake = (): void => {
    if (this.closed) return
    this.wanted = true
    this.pumping ??= this.pump().finally(() => {
      this.pumping = undefined
      if (this.wanted) this.wake()
    })
  }

  /**
   * The run is the first of its session, so that nothing of the session can be before it: unless others wait, the runner
   * gets it without another look at the queue.
   */
  offer = (run: RunRef): void => {
    if (this.closed || this.pumping || this.full) return this.wake()
    void this.start(run).then((answer) => {
      if (answer === 'full') this.full = true
    })
  }

  /** Makes a run that the runner begins with at once, unless others wait. False: it was not made. */
  async begin(run: RunRef, accept: (runnerId: string) => Promise<ClaimedRun | undefined>): Promise<boolean> {
    return !this.closed && !this.pumping && !this.full && this.options.runner.begin(run, accept)
  }

  async close(): Promise<void> {
    this.closed = true
    this.wanted = false
    clearTimeout(this.retry)
    await this.pumping
  }

  private async pump(): Promise<void> {
    while (this.wanted && !this.closed) {
      this.wanted = false
      this.full = false
      try {
        for (const run of await this.ready()) {
          if (this.closed) return
          this.full = (await this.start(run)) === 'full'
          if (this.full) return
        }
      } catch (error) {
        this.failed(error)
      }
    }
  }

  /** One run that can't be handed over must not hold up the others. */
  private async start(run: RunRef): Promise<'accepted' | 'full' | 'failed'> {
    try {
      const answer = await this.options.runner.start(run)
      if (answer === 'accepted') this.options.onRun?.(run, 'the runner has the run')
      // It is offered again and again until there is room: told once.
      else if (this.lastFull !== run.runId) this.options.onRun?.(run, 'the runner has no room: the run waits')
      this.lastFull = answer === 'full' ? run.runId : undefined
      return answer
    } catch (error) {
      this.options.onRun?.(run, 'the run could not be handed to the runner', error)
      this.failed(error)
      return 'failed'
    }
  }

  /** Nothing else may come to wake it: a queued run must not wait for the next request. */
  private failed(error: unknown): void {
    this.options.onError?.(error)
    clearTimeout(this.retry)
    if (!this.closed) this.retry = setTimeout(this.wake, retryMs)
  }

  private async ready(): Promise<RunRef[]> {
    const { rows } = await sql<{ project_id: string; session_id: string; id: string }>`
      select distinct on (r.project_id, r.session_id) r.project_id, r.session_id, r.id, r.position
      from runs r
      where r.state = 'queued' and not exists (
        select 1 from runs a where a.project_id = r.project_id and a.session_id = r.session_id and a.state in ('starting', 'running', 'waiting'))
      order by r.project_id, r.session_id, r.position`.execute(this.options.database.db)
    return rows
      .toSorted(
        (a, b) =>
          Number((a as never as { position: number }).position) - Number((b as never as { position: number }).position),
      )
      .map((row) => ({ projectId: row.project_id, sessionId: row.session_id, runId: row.id }))
  }
}
