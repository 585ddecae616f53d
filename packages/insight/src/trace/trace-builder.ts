import {
  noTimings,
  traceOfRun,
  type EventOf,
  type RunView,
  type Timings,
  type Trace,
  type Vm0Event,
} from '@vm0/contract'
import { AgentWork } from './agent-work.js'
import { MemoryPoints } from './memory-points.js'
import { ModelRequests, saysWords, usageAttributes } from './model-requests.js'
import { names } from './names.js'
import { SpanBook, type Draft } from './span-book.js'

export interface TracedRun extends Pick<RunView, 'id' | 'sessionId' | 'framework' | 'timings' | 'createdAt'> {
  /** The caller's span (W3C Trace Context). */
  traceparent?: string | undefined
}

/**
 * Makes a trace of a run's events, read one after the other; nothing of what tools wrote is kept. The same events always
 * give the same trace.
 *
 *   run ─┬─ queue
 *        ├─ start (sandbox and agent)
 *        ├─ turn ─┬─ model request
 *        │        ├─ tool call ── sub-agent ─┬─ …
 *        │        └─ compaction, hook
 *        └─ checkpoint
 */
export class TraceBuilder {
  private readonly book: SpanBook
  private readonly work: AgentWork
  private readonly models: ModelRequests
  private readonly memory = new MemoryPoints()
  private root: Draft | undefined
  private turn: Draft | undefined
  private turns = 0
  private ready: EventOf<'sandbox.ready'> | undefined
  private started: Draft | undefined
  private startTime: string | undefined
  private timings: Timings
  private queue: Draft | undefined
  private ended = false
  private resumedMs: number | undefined

  constructor(private readonly run: TracedRun) {
    this.book = new SpanBook(run.id)
    this.work = new AgentWork(this.book)
    this.models = new ModelRequests(this.book)
    this.timings = run.timings ?? noTimings
  }

  add(event: Vm0Event): void {
    const atMs = this.book.timeOf(event)
    const root = this.rootAt(event)
    switch (event.type) {
      case 'run.queued':
        break
      case 'sandbox.ready':
        this.ready = event
        this.startEnds(event, atMs)
        break
      case 'model.request':
        this.models.request(event, atMs, this.work.asking(this.here(root)))
        break
      case 'model.response':
        this.models.response(event, atMs, this.here(root))
        break
      case 'usage':
        if (event.scope === 'step') this.models.used(event, atMs, this.work.within(event.parentToolId, this.here(root)))
        break
      case 'agent.finished':
        this.turnEnds(event, atMs)
        break
      case 'checkpoint.committed':
        this.checkpoint(event, atMs, root)
        break
      case 'run.finished':
        this.finished(event, atMs, root)
        break
      case 'run.resumed':
        this.resumed(event, atMs, root)
        break
      case 'error':
        this.book.note(this.here(root), 'exception', atMs, {
          'exception.type': event.code,
          'exception.message': event.message.slice(0, 500),
        })
        break
      case 'status':
        if (event.state === 'retrying')
          this.book.note(this.here(root), 'gen_ai.request.attempt', atMs, {
            'vm0.attempt': event.attempt,
            [names.httpStatus]: event.httpStatus,
          })
        break
      case 'sandbox.out_of_memory':
        this.book.note(this.work.ofCall(event.blamed?.toolId, this.here(root)), 'vm0.sandbox.oom', atMs, {
          [names.oomLimit]: event.limitBytes,
          [names.oomAction]: event.action,
          [names.oomDetected]: event.detected,
          [names.oomVictim]: (event.blamed?.process ?? event.victims[0])?.command.slice(0, 200),
          [names.peakMemory]: event.blamed?.rssBytes,
        })
        break
      case 'sandbox.report':
        this.book.note(this.work.ofCall(event.toolIds.at(-1), this.here(root)), `vm0.sandbox.${event.trigger}`, atMs)
        break
      case 'tool.processes':
        this.work.add(event, atMs, this.here(root))
        break
      case 'sandbox.memory':
        this.memory.add(event, this.book.timeAt(event.since))
        break
      case 'stderr':
      case 'notice':
      case 'raw':
        break
      default:
        this.models.output(event, atMs)
        this.work.add(event, atMs, opensTurn(event) ? this.turnAt(event, atMs) : this.here(root))
    }
  }

  trace(): Trace {
    this.models.settle()
    return {
      ...traceOfRun(this.run.id, this.run.traceparent),
      runId: this.run.id,
      sessionId: this.run.sessionId,
      startTime: this.startTime ?? this.run.createdAt,
      durationMs: this.book.lastMs,
      spans: this.book.spans(this.ended),
      memory: this.memory.shown(),
    }
  }

  /** What an agent does after its turn is no new turn. */
  private here(root: Draft): Draft {
    return this.turn?.endMs === null ? this.turn : root
  }

  private rootAt(event: Vm0Event): Draft {
    if (this.root) return this.root
    const { id, sessionId, framework } = this.run
    const attributes = { [names.run]: id, [names.conversation]: sessionId, [names.agent]: framework }
    this.startTime = event.time
    this.root = this.book.open({
      key: 'run',
      kind: 'run',
      name: 'vm0.run',
      parent: undefined,
      startMs: 0,
      attributes,
      event,
    })
    this.queue = this.book.open({
      key: 'queue',
      kind: 'queue',
      name: 'vm0.sandbox.queue',
      parent: this.root,
      startMs: 0,
      event,
    })
    return this.root
  }

  /** The run's own account says when it left the queue; it is there once the run has ended. */
  private queueEnds(event: Vm0Event, endMs: number): void {
    if (this.queue?.endMs === null) this.book.close(this.queue, event, endMs)
  }

  private startEnds(event: EventOf<'sandbox.ready'>, atMs: number): void {
    const parent = this.root as Draft
    const startMs = this.started
      ? (this.resumedMs ?? this.started.endMs ?? atMs)
      : Math.min(this.timings.queuedMs ?? 0, atMs)
    this.queueEnds(event, startMs)
    this.started = this.book.open({
      key: 'start',
      kind: 'start',
      name: 'vm0.sandbox.acquire',
      parent,
      startMs,
      attributes: {
        [names.startKind]: event.how,
        [names.sandbox]: event.sandboxId,
        [names.template]: event.template,
        [names.agentVersion]: event.agentVersion,
      },
      event,
    })
    this.book.close(this.started, event, atMs)
    // The prompt is sent at this moment.
    this.turnAt(event, atMs)
  }

  private turnAt(event: Vm0Event, startMs: number): Draft {
    if (this.turn?.endMs === null) return this.turn
    this.turns += 1
    const { framework, sessionId } = this.run
    this.turn = this.book.open({
      key: `turn ${this.turns}`,
      kind: 'turn',
      name: `invoke_agent ${framework}`,
      parent: this.root,
      startMs,
      attributes: {
        [names.operation]: 'invoke_agent',
        [names.agent]: framework,
        [names.conversation]: sessionId,
        [names.turn]: this.turns,
      },
      event,
    })
    return this.turn
  }

  private turnEnds(event: EventOf<'agent.finished'>, atMs: number): void {
    const turn = this.turnAt(event, Math.max(0, atMs - event.durationMs))
    turn.failed = event.reason === 'error'
    const attributes = { ...usageAttributes(event.usage), [names.cost]: event.costUsd, [names.outcome]: event.reason }
    this.book.close(turn, event, atMs, { ...attributes, [names.errorType]: turn.failed ? event.reason : undefined })
  }

  /** What was open is lost; the next attempt has a start and turns of its own. */
  private resumed(event: EventOf<'run.resumed'>, atMs: number, root: Draft): void {
    this.book.cutOff(event, atMs, { [names.errorType]: event.reason, [names.endInferred]: true }, [root])
    this.book.note(root, 'vm0.run.resumed', atMs, { 'vm0.run.attempt': event.attempt, [names.errorType]: event.reason })
    this.turn = undefined
    this.resumedMs = atMs
  }

  private checkpoint(event: EventOf<'checkpoint.committed'>, atMs: number, root: Draft): void {
    const draft = this.book.open({
      key: `checkpoint ${event.cursor}`,
      kind: 'checkpoint',
      name: 'vm0.sandbox.checkpoint',
      parent: this.here(root),
      startMs: atMs - event.durationMs,
      attributes: {
        [names.checkpoint]: event.checkpoint,
        [names.cause]: event.cause,
        [names.bytes]: event.sizeBytes,
        [names.files]: event.changedFiles,
      },
      event,
    })
    this.book.close(draft, event, atMs)
  }

  private finished(event: EventOf<'run.finished'>, atMs: number, root: Draft): void {
    this.ended = true
    this.timings = event.timings
    const { queuedMs } = event.timings
    if (queuedMs !== null) {
      this.queueEnds(event, queuedMs)
      // It began to start and never was ready.
      if (!this.ready && event.outcome !== 'succeeded')
        this.book.open({
          key: 'start',
          kind: 'start',
          name: 'vm0.sandbox.acquire',
          parent: root,
          startMs: queuedMs,
          event,
        })
    }
    root.failed = event.outcome === 'failed' || event.outcome === 'died'
    this.book.close(root, event, atMs, {
      [names.outcome]: event.outcome,
      [names.errorType]: event.reason,
    })
  }
}

function opensTurn(event: Vm0Event): boolean {
  return event.type === 'run.started' || event.type === 'tool.started' || saysWords(event)
}

/** The trace of a run's events, in the order of the log. */
export function traceOf(run: TracedRun, events: Iterable<Vm0Event>): Trace {
  const builder = new TraceBuilder(run)
  for (const event of events) builder.add(event)
  return builder.trace()
}
