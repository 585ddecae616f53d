import type { EventScope } from '@vm0/backends'
import type { EventOf, Timings, Usage, Vm0Event } from '@vm0/contract'
import type { RunObserver } from '../run-observer.js'
import { boundedLabel } from './bounded-label.js'
import type { Exemplar, Metrics } from './registry.js'

const maxRunsAtWork = 10_000

const lossReasons = ['agent_crashed', 'agent_killed', 'sandbox_lost', 'host_lost', 'platform_away']

const stages = {
  authorised: 'authorisedMs',
  placed: 'queuedMs',
  bound: 'boundMs',
  sandbox_ready: 'sandboxReadyMs',
  prompt_written: 'promptSentMs',
  agent_ready: 'agentReadyMs',
  first_model_request: 'firstModelRequestMs',
  first_token: 'firstTokenMs',
} as const satisfies Record<string, keyof Timings>

const tokens = {
  gen_ai_client_inference_usage_output_tokens_total: (usage: Usage) => usage.outputTokens,
  gen_ai_client_inference_usage_cache_read_input_tokens_total: (usage: Usage) => usage.cacheReadTokens,
  gen_ai_client_inference_usage_cache_write_input_tokens_total: (usage: Usage) => usage.cacheWriteTokens,
  gen_ai_client_inference_usage_input_tokens_total: (usage: Usage) =>
    usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens,
} as const

/** Counts what the events of runs tell. */
export class RunMetrics implements RunObserver {
  private readonly project = boundedLabel(100)
  private readonly model = boundedLabel(50)
  private readonly tool = boundedLabel(80)
  private readonly reason = boundedLabel(60)
  /** Runs at work, with how their first sandbox came. */
  private readonly starts = new Map<string, string>()
  /** Ids of the traces of runs; empty while one is looked up, or is not known. */
  private readonly traces = new Map<string, string>()

  constructor(
    private readonly metrics: Metrics,
    /** The trace that a run belongs to. */
    private readonly traceOf: (scope: EventScope) => Promise<string | undefined>,
    /** How a run ended, by its row. */
    private readonly endOf: (scope: EventScope) => Promise<{ outcome: string; reason: string | null } | undefined>,
  ) {
    // A count that begins with its first event is no increase to Prometheus.
    for (const result of ['hit', 'miss']) metrics.add('vm0_pool_requests_total', { result }, 0)
    for (const action of ['stopped_process', 'doubled', 'stopped_run', 'killed_by_kernel'])
      metrics.add('vm0_sandbox_out_of_memory_total', { action }, 0)
    for (const reason of lossReasons) metrics.add('vm0_run_resumptions_total', { reason }, 0)
  }

  event(scope: EventScope, event: Vm0Event): void {
    const { metrics } = this
    const exemplar = this.exemplarOf(scope)
    metrics.add('vm0_events_total', {})
    switch (event.type) {
      case 'sandbox.ready':
        this.begun(keyOf(scope), event.how)
        this.count(scope, 'succeeded', null, 0)
        this.count(scope, 'died', 'out_of_memory', 0)
        break
      case 'tool.finished':
        metrics.observe(
          'gen_ai_execute_tool_duration_seconds',
          { gen_ai_tool_name: this.tool(toolName(event.name)), error_type: event.ok ? '' : 'tool_error' },
          event.durationMs / 1000,
          exemplar,
        )
        break
      case 'model.response':
        if (!event.path.startsWith('/v1/messages')) break
        metrics.observe(
          'gen_ai_client_inference_duration_seconds',
          { error_type: event.httpStatus < 400 ? '' : String(event.httpStatus) },
          event.durationMs / 1000,
          exemplar,
        )
        break
      case 'usage':
        if (event.scope === 'step') this.used(scope, event, exemplar)
        break
      case 'checkpoint.committed':
        metrics.observe('vm0_checkpoint_duration_seconds', { cause: event.cause }, event.durationMs / 1000, exemplar)
        metrics.observe('vm0_checkpoint_size_bytes', { cause: event.cause }, event.sizeBytes, exemplar)
        break
      case 'sandbox.out_of_memory':
        metrics.add('vm0_sandbox_out_of_memory_total', { action: event.action }, 1, exemplar)
        break
      case 'run.resumed':
        metrics.add('vm0_run_resumptions_total', { reason: event.reason }, 1, exemplar)
        break
      case 'run.finished':
        this.finished(scope, event, exemplar)
        break
      default:
        break
    }
  }

  ended(scope: EventScope, told: boolean): void {
    if (told) return
    void this.endOf(scope).then(
      (end) => end && this.count(scope, end.outcome, end.reason),
      () => undefined, // a database that can't be asked is told of elsewhere
    )
  }

  private count(scope: EventScope, outcome: string, reason: string | null, by = 1): void {
    const labels = { project: this.project(scope.projectId), outcome, reason: this.reason(reason ?? '') }
    this.metrics.add('vm0_runs_finished_total', labels, by, by > 0 ? this.exemplarOf(scope) : undefined)
  }

  /** Without the trace until that has been looked up, which the first event of a run has begun. */
  private exemplarOf(scope: EventScope): Exemplar {
    const { runId } = scope
    const key = keyOf(scope)
    const traceId = this.traces.get(key)
    if (traceId) return { run_id: runId, trace_id: traceId }
    if (traceId === undefined) {
      this.traces.set(key, '')
      const [oldest] = this.traces.keys()
      if (this.traces.size > maxRunsAtWork && oldest !== undefined) this.traces.delete(oldest)
      void this.traceOf(scope).then(
        (found) => this.traces.has(key) && this.traces.set(key, found ?? ''),
        () => undefined, // a database that can't be asked is told of elsewhere
      )
    }
    return { run_id: runId }
  }

  /** One that ended elsewhere is forgotten when its turn comes. */
  private begun(key: string, how: string): void {
    if (!this.starts.has(key)) this.starts.set(key, how)
    const [oldest] = this.starts.keys()
    if (this.starts.size > maxRunsAtWork && oldest !== undefined) this.starts.delete(oldest)
  }

  private used(scope: EventScope, event: EventOf<'usage'>, exemplar: Exemplar): void {
    const labels = { project: this.project(scope.projectId), gen_ai_request_model: this.model(event.model) }
    for (const [name, count] of Object.entries(tokens))
      this.metrics.add(name as keyof typeof tokens, labels, Math.max(0, count(event.usage)), exemplar)
    this.metrics.add('vm0_run_cost_usd_total', labels, Math.max(0, event.costUsd ?? 0), exemplar)
  }

  private finished(scope: EventScope, event: EventOf<'run.finished'>, exemplar: Exemplar): void {
    const { outcome, reason, timings } = event
    this.count(scope, outcome, reason)
    const start = this.starts.get(keyOf(scope)) ?? 'none'
    this.starts.delete(keyOf(scope))
    for (const [stage, key] of Object.entries(stages)) {
      const ms = timings[key]
      if (ms !== null) this.metrics.observe('vm0_run_stage_seconds', { stage, start }, ms / 1000, exemplar)
    }
    if (timings.totalMs !== null)
      this.metrics.observe('vm0_run_duration_seconds', { outcome }, timings.totalMs / 1000, exemplar)
    if (timings.pool !== null) this.metrics.add('vm0_pool_requests_total', { result: timings.pool }, 1, exemplar)
  }
}

function keyOf({ projectId, runId }: EventScope): string {
  return `${projectId}/${runId}`
}

/** The tools of an MCP server have the server's own names: only that they are MCP is kept. */
function toolName(name: string): string {
  return name.startsWith('mcp__') ? 'mcp' : name
}
