import {
  isEnded,
  Vm0Error,
  type ErrorCode,
  type Outcome,
  type RunView,
  type Timings,
  type Usage,
  type Vm0Event,
  isErrorCode,
} from '@vm0/contract/client'
import { followEvents } from './events.js'
import type { Http } from './http.js'
import { Session } from './session.js'

export interface RunResult {
  outcome: Outcome
  reason: string | null
  text: string
  usage: Usage
  costUsd: number
  timings: Timings
  checkpoint: string | null
  session: Session
}

/** A run that didn't succeed; `result` holds what there is. */
export class RunError extends Vm0Error {
  override readonly name = 'RunError'
  constructor(
    code: ErrorCode,
    message: string,
    hint: string,
    readonly result: RunResult,
    details: Record<string, unknown> = {},
  ) {
    super(code, message, { hint, details })
  }
  get outcome(): Outcome {
    return this.result.outcome
  }
  get reason(): string | null {
    return this.result.reason
  }
}

/**
 * A run: iterate over it for its events, await it for its result. It has been sent already; a program that ends leaves it running.
 *
 * @example
 * const run = vm0.run({ prompt: 'make the tests pass', workspace: '.' })
 * for await (const event of run) if (event.type === 'message.delta') process.stdout.write(event.text)
 * const { text } = await run
 */
export class Run implements PromiseLike<RunResult>, AsyncIterable<Vm0Event> {
  private finished: Promise<RunView> | undefined
  private known: Session | undefined

  constructor(
    private readonly http: Http,
    readonly id: string,
    session: Session | undefined,
    private readonly accepted: Promise<unknown>,
    private readonly signal?: AbortSignal,
  ) {
    this.known = session
    accepted.catch(() => undefined) // told to whoever awaits or iterates
    const cancel = (): void => void this.cancel().catch(() => undefined)
    if (signal?.aborted) cancel()
    else signal?.addEventListener('abort', cancel, { once: true })
  }

  /** The run's session. Of a run that was picked up by its id it is known after `get()`, `result()` or an await. */
  get session(): Session {
    if (!this.known)
      throw new Vm0Error(
        'NOT_READY',
        `the session of run ${this.id} is not known yet; expected \`await run.get()\` before`,
      )
    return this.known
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Vm0Event, void> {
    yield* this.events()
  }

  /** Events after a cursor; from the start without one. May be called any number of times, also after the end. */
  async *events({ after }: { after?: string } = {}): AsyncGenerator<Vm0Event, void> {
    await this.accepted
    yield* followEvents(this.http, this.id, after)
  }

  /** What has happened until now, without waiting for more. */
  async *history(): AsyncGenerator<Vm0Event, void> {
    await this.accepted
    const response = await this.http.request(`/runs/${this.id}/events`, { headers: { accept: 'application/x-ndjson' } })
    for (const line of (await response.text()).split('\n')) if (line) yield JSON.parse(line) as Vm0Event
  }

  // oxlint-disable-next-line unicorn/no-thenable -- awaiting a run is the public face
  then<A = RunResult, B = never>(
    onFulfilled?: ((result: RunResult) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.succeeded().then(onFulfilled, onRejected)
  }

  /** The result whatever the outcome; throws only when the server can't be asked. */
  async result(): Promise<RunResult> {
    return this.toResult(await this.end())
  }

  /** The run as the server knows it now. */
  async get(): Promise<RunView> {
    await this.accepted
    const view = await this.http.json<RunView>(`/runs/${this.id}`)
    this.known ??= new Session(this.http, view.sessionId)
    return view
  }

  /** Ends the run; one that has ended already is left as it is. */
  async cancel(): Promise<void> {
    await this.accepted
    await this.http.json(`/runs/${this.id}/cancel`, { method: 'POST' }).catch((error: Vm0Error) => {
      if (error.code !== 'RUN_ENDED') throw error
    })
  }

  /** Hands text to the agent in the middle of its work. */
  async send(text: string): Promise<void> {
    await this.accepted
    await this.http.json(`/runs/${this.id}/input`, { method: 'POST', json: { text }, retry: false })
  }

  private async succeeded(): Promise<RunResult> {
    const view = await this.end()
    const result = this.toResult(view)
    if (view.state === 'succeeded') return result
    const { code = 'INTERNAL', message = `the run ended as ${view.state}`, hint = '', details } = view.error ?? {}
    throw new RunError(isErrorCode(code) ? code : 'INTERNAL', message, hint, result, details)
  }

  private end(): Promise<RunView> {
    this.finished ??= (async () => {
      for await (const event of this.events()) if (event.type === 'run.finished') break
      const view = await this.get()
      if (!isEnded(view.state)) throw new Vm0Error('INTERNAL', `run ${this.id} is ${view.state} after its last event`)
      return view
    })()
    this.finished.catch(() => undefined)
    return this.finished
  }

  private toResult({ state, reason, text, usage, costUsd, timings, checkpoint }: RunView): RunResult {
    return {
      outcome: state as Outcome,
      reason,
      text: text ?? '',
      usage,
      costUsd,
      timings,
      checkpoint,
      session: this.session,
    }
  }
}
