import type { EventOf, Vm0Event } from '@vm0/contract'
import { callOf, type Call } from './call.js'

const maxTailChars = 2_000

export interface At {
  cursor: string
  atMs: number
}
/** What is known of one model request: from the agent's own account. */
export interface Step extends At {
  usage: EventOf<'usage'>['usage']
  costUsd: number
  model: string
  parentToolId: string | undefined
}
export interface Denial extends At {
  tool: string
  title: string
  message: string
}

/**
 * What of a run's events counts when one asks how it went: tool calls, model requests, what was denied, what failed. Read one
 * event after the other; of what tools wrote only the ends are kept.
 */
export class RunRecord {
  readonly calls: Call[] = []
  readonly steps: Step[] = []
  readonly denials: Denial[] = []
  readonly retries: (At & { status: number | undefined })[] = []
  readonly refusals: (At & { status: number })[] = []
  readonly compactions: (At & { before: number | undefined; after: number | undefined; callsBefore: number })[] = []
  readonly inputs: At[] = []
  readonly errors: (At & { code: string; message: string })[] = []
  readonly checkpoints: (At & { files: number; id: string; toolIds: readonly string[] })[] = []
  readonly turns: (At & { reason: string; text: string })[] = []
  /** Attempts that were lost, with the calls that were at work then. */
  readonly losses: (At & { reason: string; attempt: number; calls: Call[] })[] = []
  /** Times that the sandbox's memory was used up. */
  readonly memory: (At & EventOf<'sandbox.out_of_memory'>)[] = []
  readonly reports: (At & EventOf<'sandbox.report'>)[] = []
  ready: (At & { how: string; template: string }) | undefined
  started: At | undefined
  finished: (At & EventOf<'run.finished'>) | undefined
  /** The request to the model that came last, while nothing of an answer to it is known. */
  unanswered: (At & { endMs: number | undefined }) | undefined
  /** The agent's last words that are no answer: its stderr. */
  stderr = ''
  /** What it said last. */
  lastText = ''
  lastMs = 0
  private baseMs: number | undefined
  private readonly open = new Map<string, Call>()
  private readonly denied = new Set<string>()

  add(event: Vm0Event): void {
    const ms = Date.parse(event.time)
    this.baseMs ??= ms
    const at: At = { cursor: event.cursor, atMs: Math.max(0, ms - this.baseMs) }
    this.lastMs = Math.max(this.lastMs, at.atMs)
    this.keep(event, at)
  }

  /** Calls that nothing told the end of. */
  get openCalls(): Call[] {
    return [...this.open.values()]
  }

  private keep(event: Vm0Event, at: At): void {
    switch (event.type) {
      case 'sandbox.ready':
        this.ready ??= { ...at, how: event.how, template: event.template }
        break
      case 'run.started':
        this.started ??= at
        break
      case 'message.delta':
      case 'thinking.delta':
        this.unanswered = undefined
        break
      case 'message':
        this.unanswered = undefined
        if (event.parentToolId === undefined) this.lastText = event.text.slice(-maxTailChars)
        break
      case 'tool.started':
        this.unanswered = undefined
        if (!this.open.has(event.toolId)) this.toolStarted(event, at)
        break
      case 'tool.finished':
        this.toolFinished(event, at)
        break
      case 'usage':
        if (event.scope === 'step')
          this.steps.push({
            ...at,
            usage: event.usage,
            costUsd: event.costUsd ?? 0,
            model: event.model,
            parentToolId: event.parentToolId,
          })
        break
      case 'permission.resolved':
        this.permission(event, at)
        break
      case 'compaction':
        if (event.phase === 'finished')
          this.compactions.push({
            ...at,
            before: event.preTokens,
            after: event.postTokens,
            callsBefore: this.calls.length,
          })
        break
      case 'status':
        if (event.state === 'retrying') this.retries.push({ ...at, status: event.httpStatus })
        break
      case 'model.request':
        this.unanswered = { ...at, endMs: undefined }
        break
      case 'model.response':
        if (this.unanswered) this.unanswered.endMs = at.atMs
        if (event.httpStatus >= 400 && event.path.startsWith('/v1/messages'))
          this.refusals.push({ ...at, status: event.httpStatus })
        break
      case 'input.sent':
        if (event.by === undefined) this.inputs.push(at)
        break
      case 'stderr':
        this.stderr = `${this.stderr}${event.text}\n`.slice(-maxTailChars)
        break
      case 'error':
        this.errors.push({ ...at, code: event.code, message: event.message })
        break
      case 'agent.finished':
        this.turns.push({ ...at, reason: event.reason, text: event.text.slice(-maxTailChars) })
        break
      case 'checkpoint.committed':
        this.checkpoints.push({
          ...at,
          files: event.changedFiles,
          id: event.checkpoint,
          toolIds: event.toolIds ?? [],
        })
        break
      case 'sandbox.out_of_memory':
        this.memory.push({ ...event, ...at })
        break
      case 'sandbox.report':
        this.reports.push({ ...event, ...at })
        break
      case 'run.resumed':
        this.losses.push({ ...at, reason: event.reason, attempt: event.attempt - 1, calls: this.openCalls })
        this.open.clear()
        this.unanswered = undefined
        break
      case 'run.finished':
        this.finished = { ...event, ...at }
        break
      default:
        break
    }
  }

  private toolStarted(event: EventOf<'tool.started'>, at: At): Call {
    const call = callOf(event, at)
    this.calls.push(call)
    this.open.set(event.toolId, call)
    return call
  }

  private toolFinished(event: EventOf<'tool.finished'>, at: At): void {
    const unseen = { ...event, type: 'tool.started' as const, kind: 'other' as const, input: null, title: '' }
    const call = this.open.get(event.toolId) ?? this.toolStarted(unseen, at)
    this.open.delete(event.toolId)
    call.finish(event, at)
  }

  private permission(event: EventOf<'permission.resolved'>, at: At): void {
    if (event.decision !== 'deny') return
    // Asked and answered, and told once more by the agent, is one denial.
    const id = event.toolId ?? event.requestId ?? event.cursor
    if (this.denied.has(id)) return
    this.denied.add(id)
    const title = this.calls.findLast((call) => call.id === event.toolId)?.title ?? ''
    this.denials.push({ ...at, tool: event.name, title, message: (event.message ?? '').slice(0, 300) })
  }
}

/** The record of a run's events, in the order of the log. */
export function recordOf(events: Iterable<Vm0Event>): RunRecord {
  const record = new RunRecord()
  for (const event of events) record.add(event)
  return record
}
