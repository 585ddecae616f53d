import { Vm0Error, type Answer, type EventBody } from '@vm0/contract'
import type { LiveAgent } from './live-agent.js'
import type { RunContext } from './run-context.js'
import { TimeLimit } from './time-limit.js'

/** What an earlier process has told of a run's waits. */
export interface Waits {
  /** It waited when it was last told. */
  isWaiting: boolean
  /** All its waits so far. */
  ms: number
  /** Questions that a person has answered. */
  answered: ReadonlySet<string>
  /** Questions that nobody has answered. */
  open: readonly string[]
}

/**
 * Whether a run waits for a person: it does while a question of its agent is open. Its time limit doesn't run then, and after a
 * while its sandbox is frozen, so that it may wait for days.
 */
export class Waiting {
  private readonly open = new Set<string>()
  /** What the log and the row say. */
  private told = false
  private answered: ReadonlySet<string> = new Set()
  private freezing: NodeJS.Timeout | undefined
  private limit: TimeLimit | undefined
  private marked: Promise<void> = Promise.resolve()

  constructor(
    private readonly run: RunContext,
    private readonly onChange: (waits: boolean) => void = () => undefined,
  ) {}

  /** The run may take that long, its waits apart. */
  limitTo(ms: number, onEnd: () => void): void {
    this.limit = new TimeLimit(ms, onEnd)
  }

  observe(event: EventBody): void {
    if (event.type === 'permission.requested' && !this.answered.has(event.requestId)) this.open.add(event.requestId)
    else if (event.type === 'permission.resolved' && event.requestId) this.open.delete(event.requestId)
    else return
    this.tell()
  }

  /** The run is one of an earlier process: its output is read again. */
  goOn({ isWaiting, answered, open }: Waits): void {
    for (const id of open) this.open.add(id)
    this.told = isWaiting
    this.answered = answered
    if (isWaiting) this.limit?.pause()
    this.tell()
  }

  /** Another agent takes the run up: what the one before asked is void. */
  resumed(): void {
    this.open.clear()
    this.tell()
  }

  /** A person's decision on what the agent asks: what is to be written to it. */
  async answer({ protocol }: LiveAgent, answer: Answer): Promise<string[]> {
    const { log, ref } = this.run
    const answered = protocol.answer(answer)
    if (!answered)
      throw new Vm0Error('QUESTION_NOT_OPEN', `run ${ref.runId} waits for no answer to ${answer.requestId}`)
    await this.wake()
    for (const event of answered.events) {
      log.append(event)
      this.observe(event)
    }
    return answered.replies
  }

  /** The sandbox goes on, so that what is written is read. */
  async wake(): Promise<void> {
    clearTimeout(this.freezing)
    await this.run.session.thaw().catch(this.failed)
  }

  /** Resolves when the row says what holds. */
  settled(): Promise<void> {
    return this.marked
  }

  close(): void {
    clearTimeout(this.freezing)
    this.limit?.close()
  }

  private tell(): void {
    const waits = this.open.size > 0
    if (waits === this.told) return
    this.told = waits
    this.onChange(waits)
    const { runner, session, store, ref, epoch, log } = this.run
    clearTimeout(this.freezing)
    if (waits) {
      this.limit?.pause()
      this.freezing = setTimeout(() => void session.freeze({ waiting: true }).catch(this.failed), runner.freezeMs)
    } else this.limit?.goOn()
    log.append({ type: 'run.state', state: waits ? 'waiting' : 'running' })
    // One after the other, and before the row that ends the run.
    this.marked = this.marked.then(() => store.markWaiting(ref, epoch, waits)).catch(this.failed)
  }

  private readonly failed = (error: unknown): void => {
    this.run.runner.logger.error({ ...this.run.ref, error }, 'the state of a run could not be changed')
  }
}
