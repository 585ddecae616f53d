import { noTimings, noUsage, type EventBody, type RunView, type Vm0Event } from '@vm0/contract'

const startMs = Date.parse('2026-01-02T03:04:05.000Z')

/** The log of a made-up run: events one after the other, each some time after the one before. */
export class RunLog {
  readonly events: Vm0Event[] = []
  readonly run: RunView = {
    id: '01980000-0000-7000-8000-00000000abcd',
    sessionId: '01980000-0000-7000-8000-000000005e55',
    state: 'running',
    reason: null,
    framework: 'claude-code',
    agentVersion: '2.1.330',
    model: null,
    labels: {},
    text: null,
    output: null,
    usage: noUsage,
    costUsd: 0,
    timings: noTimings,
    checkpoint: null,
    attempts: 1,
    error: null,
    createdAt: new Date(startMs).toISOString(),
    startedAt: null,
    endedAt: null,
  }
  private calls = 0

  constructor(private atMs = 0) {}

  add(body: EventBody, afterMs = 10): this {
    this.atMs += afterMs
    const { id: runId, sessionId } = this.run
    const cursor = this.events.length === 0 ? '0.1' : `1.${this.events.length}`
    const time = new Date(startMs + this.atMs).toISOString()
    this.events.push({ v: 1, cursor, time, runId, sessionId, ...body } as Vm0Event)
    return this
  }

  /** Queued, sandbox made, agent begun. */
  begin(): this {
    return this.add({ type: 'run.queued' }, 0)
      .add(
        {
          type: 'sandbox.ready',
          sandboxId: 's1',
          how: 'cold',
          durationMs: 500,
          template: 'standard',
          agentVersion: '2.1.330',
        },
        500,
      )
      .add({
        type: 'run.started',
        agentSessionId: 'a',
        model: 'claude-opus-5-5',
        cwd: '/workspace',
        tools: ['Bash'],
        agentVersion: '2.1.330',
      })
  }

  started(name: string, input: object, more: Partial<Extract<EventBody, { type: 'tool.started' }>> = {}): string {
    this.calls += 1
    const toolId = `toolu_${this.calls}`
    const kind =
      ({ Bash: 'shell', Read: 'read', Edit: 'edit', Write: 'edit', Grep: 'search', Task: 'subagent' } as const)[name] ??
      'other'
    const { command, file_path: path } = input as Record<string, string>
    this.add({ type: 'tool.started', toolId, name, kind, input, title: command ?? path ?? '', ...more })
    return toolId
  }

  finished(
    toolId: string,
    name: string,
    output: string,
    {
      exitCode,
      ok = exitCode === undefined || exitCode === 0,
      durationMs = 100,
      ...more
    }: Partial<Extract<EventBody, { type: 'tool.finished' }>> = {},
  ): this {
    return this.add(
      {
        type: 'tool.finished',
        toolId,
        name,
        ok,
        ...(exitCode === undefined ? {} : { exitCode }),
        output,
        outputTruncated: false,
        durationMs,
        ...more,
      },
      durationMs,
    )
  }

  bash(command: string, output: string, exitCode = 0, durationMs = 100): this {
    return this.finished(this.started('Bash', { command }), 'Bash', output, { exitCode, durationMs })
  }

  call(name: string, input: object, output: string, ok = true): this {
    return this.finished(this.started(name, input), name, output, { ok })
  }

  /** One request to the model, as gateway and agent tell of it. */
  model(usage: Partial<typeof noUsage> = {}, { httpStatus = 200, durationMs = 1000, costUsd = 0.01 } = {}): this {
    this.calls += 1
    const messageId = `msg_${this.calls}`
    this.add({ type: 'model.request', method: 'POST', path: '/v1/messages?beta=true', first: false })
    if (httpStatus === 200) this.add({ type: 'message', messageId, text: 'so' }, durationMs / 2)
    this.add(
      { type: 'model.response', path: '/v1/messages?beta=true', httpStatus, durationMs },
      httpStatus === 200 ? durationMs / 2 : durationMs,
    )
    if (httpStatus !== 200) return this
    return this.add(
      { type: 'usage', scope: 'step', model: 'claude-opus-5-5', messageId, usage: { ...noUsage, ...usage }, costUsd },
      1,
    )
  }

  turnEnds(text = 'done', reason: 'completed' | 'error' = 'completed'): this {
    return this.add({ type: 'agent.finished', reason, text, usage: noUsage, costUsd: 0.02, durationMs: this.atMs })
  }

  end(
    outcome: 'succeeded' | 'failed' | 'died' | 'cancelled' = 'succeeded',
    reason: string | null = null,
    error: RunView['error'] = null,
  ): this {
    const timings = { ...noTimings, queuedMs: 20, sandboxReadyMs: 500, totalMs: this.atMs + 10 }
    Object.assign(this.run, {
      state: outcome,
      reason,
      error,
      timings,
      endedAt: new Date(startMs + this.atMs + 10).toISOString(),
    })
    return this.add({ type: 'run.finished', outcome, reason, timings, error })
  }
}
