import {
  isEnded,
  toVm0Error,
  Vm0Error,
  type Answer,
  type LogEntry,
  type Replay,
  type ReplayedRun,
  type RunView,
  type Thresholds,
  type Trace,
  type TraceFormat,
  type Vm0Event,
  type Why,
} from '@vm0/contract/client'
import { uuidv7 } from 'uuidv7'
import { followEvents } from './events.js'
import type { Http } from './http.js'
import { readLogs, type LogOptions } from './run-logs.js'
import { resultOf, resultOfFailure, RunError, type RunResult } from './run-result.js'
import { Session } from './session.js'

/**
 * Where a replay began.
 *
 * @example
 * const run = vm0.run({ prompt: 'say hello' })
 * for await (const event of run)
 *   if (event.type === 'tool.started') console.log((await run.replay({ from: event.toolId })).checkpoint)
 */
export interface ReplayResult {
  run: Run
  /** The call that was named. */
  toolId: string
  /** The state that it begins with; null: with nothing, as the run did. */
  checkpoint: string | null
  /** Calls between that state and the call: they are done anew too. */
  callsBetween: number
}

/**
 * A run: iterate over it for its events, await it for its result. It has been sent already; a program that ends leaves it
 * running. Nothing that goes wrong is an unhandled rejection: it is told to whoever awaits or iterates.
 *
 * @example
 * const run = vm0.run({ prompt: 'make the tests pass', workspace: '.' })
 * for await (const event of run) if (event.type === 'message.delta') process.stdout.write(event.text)
 * const { text } = await run
 */
export class Run implements PromiseLike<RunResult>, AsyncIterable<Vm0Event> {
  private ending: Promise<RunView> | undefined
  private known: Session | undefined
  private readonly accepted: Promise<void>
  private acceptedMs: number | undefined
  private readonly stopListening: () => void

  /** @internal */
  constructor(
    private readonly http: Http,
    /**
     * Known at once: made by this client (UUIDv7), so that sending the run again is safe.
     *
     * @example
     * console.log(vm0.run({ prompt: 'say hello' }).id)
     */
    readonly id: string,
    session: Session | undefined,
    /** The server's word that it has the run; null: it was picked up by its id. */
    accepted: Promise<unknown> | null,
    signal?: AbortSignal,
  ) {
    this.known = session
    this.accepted = accepted?.then(() => void (this.acceptedMs = performance.now())) ?? Promise.resolve()
    const cancel = (): void => void this.cancel().catch(() => undefined)
    this.stopListening = () => signal?.removeEventListener('abort', cancel)
    if (signal?.aborted) cancel()
    else signal?.addEventListener('abort', cancel, { once: true })
    this.accepted.catch(this.stopListening) // told to whoever awaits or iterates
  }

  /**
   * The run's session, at once. Of a run that was picked up by its id it is known after an `await` of the run, `get()` or
   * `result()`; before, this throws NOT_READY.
   *
   * @example
   * const run = vm0.run({ prompt: 'say hello' })
   * console.log(run.session.id)
   */
  get session(): Session {
    if (!this.known)
      throw new Vm0Error(
        'NOT_READY',
        `the session of run ${this.id} is not known yet; expected \`await run.get()\` before`,
        { hint: 'Await run.get() first, or begin with vm0.sessions.get(id).' },
      )
    return this.known
  }

  /**
   * Every event from the first to `run.finished`. Iterating twice, or late, replays from the log.
   *
   * @example
   * for await (const event of vm0.run({ prompt: 'say hello' })) console.log(event.type)
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Vm0Event, void> {
    yield* this.events()
  }

  /**
   * Events after a cursor (`event.cursor`); from the start without one. May be called any number of times, also after the
   * end. A connection that breaks goes on where it was: no event is lost or repeated.
   *
   * @example
   * const run = vm0.run({ prompt: 'say hello' })
   * let last
   * for await (const event of run) last ??= event.cursor
   * for await (const event of run.events({ after: last })) console.log(event.cursor)
   */
  async *events({ after }: { after?: string | undefined } = {}): AsyncGenerator<Vm0Event, void> {
    await this.accepted
    yield* followEvents(this.http, this.id, { after, aliveMs: this.acceptedMs })
  }

  /**
   * What has happened until now, without waiting for more.
   *
   * @example
   * const run = vm0.run({ prompt: 'say hello' })
   * for await (const event of run.history()) console.log(event.type)
   */
  async *history(): AsyncGenerator<Vm0Event, void> {
    await this.accepted
    yield* followEvents(this.http, this.id, { follow: false })
  }

  /**
   * Everything that was told of the run, by time: its events, and beside them what the runner, the server and the sandbox's
   * resources had to say. Each entry has its source, level and text, and the ids of run, session and trace.
   *
   * @example
   * const run = vm0.run({ prompt: 'say hello' })
   * for await (const { time, source, level, text } of run.logs({ follow: true })) console.log(time, source, level, text)
   */
  async *logs(options: LogOptions = {}): AsyncGenerator<LogEntry, void> {
    await this.accepted
    yield* readLogs(this.http, this.id, options)
  }

  /**
   * Awaiting a run gives its result, or throws RunError when it didn't succeed.
   *
   * @example
   * const { text } = await vm0.run({ prompt: 'say hello' })
   */
  // oxlint-disable-next-line unicorn/no-thenable -- awaiting a run is the public face
  then<A = RunResult, B = never>(
    onFulfilled?: ((result: RunResult) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.settled()
      .then(({ result, cause }) => {
        if (result.outcome !== 'succeeded') throw new RunError(result, cause)
        return result
      })
      .then(onFulfilled, onRejected)
  }

  /**
   * The result, whatever it is; never throws. A run that could not be created has the outcome `failed` (`cancelled` when
   * its signal was aborted before), the reason in small letters, such as `unknown_framework`, and `error` says more. So has
   * one whose server can't be reached any more, with the reason `server_unreachable`: the run itself may go on, and calling
   * this again asks again.
   *
   * @example
   * const { outcome, reason } = await vm0.run({ prompt: 'say hello' }).result()
   */
  async result(): Promise<RunResult> {
    return (await this.settled()).result
  }

  /**
   * The run as the server knows it now.
   *
   * @example
   * const { state } = await vm0.run({ prompt: 'say hello' }).get()
   */
  async get(): Promise<RunView> {
    await this.accepted
    const view = await this.http.json<RunView>(`/runs/${this.id}`)
    this.known ??= new Session(this.http, view.sessionId)
    return view
  }

  /**
   * Ends the run as `cancelled`; what it did so far is saved. One that has ended already is left as it is.
   *
   * @example
   * const run = vm0.run({ prompt: 'say hello' })
   * await run.cancel()
   */
  async cancel(): Promise<void> {
    await this.accepted
    await this.http.json(`/runs/${this.id}/cancel`, { method: 'POST' }).catch((error: Vm0Error) => {
      if (error.code !== 'RUN_ENDED') throw error
    })
  }

  /**
   * Hands text to the agent in the middle of its work: after the event `run.started`.
   *
   * @example
   * const run = vm0.run({ prompt: 'say hello' })
   * for await (const event of run) if (event.type === 'tool.started') await run.send('in French, please')
   */
  async send(text: string): Promise<void> {
    await this.accepted
    await this.http.json(`/runs/${this.id}/input`, { method: 'POST', json: { text }, retry: false })
  }

  /**
   * What the run spent its time and money on, as spans: queue, start, turns, model requests, tool calls. Of one that goes on,
   * until now. With a format, the same as a program that shows traces takes it: `otlp` for any OpenTelemetry collector,
   * `perfetto` for ui.perfetto.dev, `html` for a page of its own to send to somebody.
   *
   * @example
   * const run = vm0.run({ prompt: 'say hello' })
   * await run
   * for (const { name, durationMs } of (await run.trace()).spans) console.log(name, durationMs)
   */
  async trace<F extends TraceFormat = 'json'>({ format }: { format?: F } = {}): Promise<
    F extends 'json' ? Trace : F extends 'html' ? string : Record<string, unknown>
  > {
    await this.accepted
    const path = `/runs/${this.id}/trace?format=${format ?? 'json'}`
    if (format === 'html') return (await (await this.http.request(path)).text()) as never
    return this.http.json(path)
  }

  /**
   * Why it ended as it did: the cause, what was at work then, what to do next, each with the events that show it; also its
   * story, and what of how the agent worked is worth changing. By rules over its events: no model is asked. From where on
   * something is a finding may be set: `{ thresholds: { exactRepeats: 5 } }`.
   *
   * @example
   * const run = vm0.run({ prompt: 'say hello' })
   * await run.result()
   * const { cause, culprit, next, story } = await run.why()
   * console.log(story.line, cause, culprit?.text, next[0])
   */
  async why({ thresholds = {} }: { thresholds?: Thresholds } = {}): Promise<Why> {
    await this.accepted
    const given = new URLSearchParams()
    for (const [name, value] of Object.entries(thresholds)) if (value !== undefined) given.set(name, `${value}`)
    return this.http.json(`/runs/${this.id}/why?${given}`)
  }

  /**
   * Answers what the agent asks in a run with `permissions: 'ask'`: the event `permission.requested` has the id. It waits
   * without a time-out. Throws QUESTION_NOT_OPEN or RUN_ENDED.
   *
   * @example
   * const run = vm0.run({ prompt: 'say hello', permissions: 'ask' })
   * for await (const event of run)
   *   if (event.type === 'permission.requested') await run.answer(event.requestId, 'allow')
   */
  async answer(requestId: string, decision: 'allow' | 'deny' | Omit<Answer, 'requestId'>): Promise<void> {
    await this.accepted
    const answer = typeof decision === 'string' ? { decision } : decision
    await this.http.json(`/runs/${this.id}/answers`, { method: 'POST', json: { ...answer, requestId }, retry: false })
  }

  /**
   * The run again in a session of its own, from the state that was saved last before one of its tool calls, with the same
   * settings but for what is given: to try another prompt or model on it. `from` is the call's id, the end of one, or its
   * number from 1. The label `replay-of` has this run's id.
   *
   * @example
   * const run = vm0.run({ prompt: 'say hello' })
   * for await (const event of run)
   *   if (event.type === 'tool.started') await (await run.replay({ from: event.toolId, prompt: 'in French' })).run
   */
  async replay(options: Omit<Replay, 'id' | 'sessionId'>): Promise<ReplayResult> {
    await this.accepted
    const session = new Session(this.http, uuidv7())
    const id = uuidv7()
    const made = await this.http.json<ReplayedRun>(`/runs/${this.id}/replay`, {
      method: 'POST',
      json: { ...options, id, sessionId: session.id },
    })
    const { toolId, checkpoint, callsBetween } = made.replay
    return { run: new Run(this.http, id, session, Promise.resolve()), toolId, checkpoint, callsBetween }
  }

  private async settled(): Promise<{ result: RunResult; cause?: Vm0Error }> {
    try {
      const view = await this.end()
      return { result: resultOf(view, this.session) }
    } catch (thrown) {
      const cause = toVm0Error(thrown)
      return { result: resultOfFailure(cause, () => this.session), cause }
    }
  }

  private end(): Promise<RunView> {
    if (!this.ending) {
      const ending = this.watch()
      this.ending = ending
      ending.then(this.stopListening, () => {
        this.ending = undefined // asked again the next time
      })
    }
    return this.ending
  }

  private async watch(): Promise<RunView> {
    for await (const event of this.events()) if (event.type === 'run.finished') break
    const view = await this.get()
    if (!isEnded(view.state)) throw new Vm0Error('INTERNAL', `run ${this.id} is ${view.state} after its last event`)
    return view
  }
}
