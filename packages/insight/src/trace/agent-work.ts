import type { EventOf, Vm0Event } from '@vm0/contract'
import { names } from './names.js'
import type { Draft, SpanBook } from './span-book.js'

const titleChars = 200

/** What an agent does in a turn besides asking its model: tool calls, sub-agents, waits for permission, hooks, compactions. */
export class AgentWork {
  private readonly tools = new Map<string, Draft>()
  /** By the tool call that started them. */
  private readonly subagents = new Map<string, Draft>()
  /** Sub-agents at work whose caller goes on only when they have ended. */
  private readonly waitedFor = new Set<Draft>()
  private readonly pending = new Map<string, Draft>()

  constructor(private readonly book: SpanBook) {}

  /** The span in which something with this parent happens; the turn where nothing is known of it. */
  within(parentToolId: string | undefined, turn: Draft): Draft {
    if (parentToolId === undefined) return turn
    return this.subagents.get(parentToolId) ?? this.tools.get(parentToolId) ?? turn
  }

  /** Who asks its model now, as far as can be told: an agent that waits for one sub-agent asks nothing itself. */
  asking(turn: Draft): Draft {
    const [only, other] = [...this.waitedFor].filter(({ endMs }) => endMs === null)
    return only && !other ? only : turn
  }

  add(event: Vm0Event, atMs: number, turn: Draft): void {
    switch (event.type) {
      case 'tool.started':
        this.toolStarted(event, atMs, turn)
        break
      case 'tool.finished':
        this.toolFinished(event, atMs, turn)
        break
      case 'tool.processes':
        this.processes(event)
        break
      case 'subagent.started':
        this.subagentStarted(event, atMs, turn)
        break
      case 'subagent.finished':
        this.end(`subagent ${event.subagentId}`, event, atMs, { [names.outcome]: event.status })
        break
      case 'permission.requested': {
        const parent = this.tools.get(event.toolId ?? '') ?? turn
        const attributes = { [names.tool]: event.name }
        this.begin(`permission ${event.requestId}`, 'permission', 'vm0.tool.blocked', parent, event, atMs, attributes)
        break
      }
      case 'permission.resolved':
        this.permissionResolved(event, atMs, turn)
        break
      case 'compaction':
        this.compaction(event, atMs, turn)
        break
      case 'hook':
        this.hook(event, atMs, turn)
        break
      default:
        break
    }
  }

  private toolStarted(event: EventOf<'tool.started'>, atMs: number, turn: Draft): void {
    if (this.tools.has(event.toolId)) return
    const draft = this.book.open({
      key: `tool ${event.toolId}`,
      kind: 'tool',
      name: `execute_tool ${event.name}`,
      parent: this.within(event.parentToolId, turn),
      startMs: atMs,
      attributes: {
        [names.operation]: 'execute_tool',
        [names.tool]: event.name,
        [names.toolCall]: event.toolId,
        [names.toolKind]: event.kind,
        [names.title]: event.title.slice(0, titleChars) || undefined,
      },
      event,
    })
    this.tools.set(event.toolId, draft)
  }

  private toolFinished(event: EventOf<'tool.finished'>, atMs: number, turn: Draft): void {
    if (!this.tools.has(event.toolId))
      this.toolStarted(
        { ...event, type: 'tool.started', kind: 'other', input: null, title: '' },
        atMs - event.durationMs,
        turn,
      )
    const draft = this.tools.get(event.toolId) as Draft
    draft.failed = !event.ok
    this.book.close(draft, event, atMs, {
      [names.exitCode]: event.exitCode,
      [names.outputChars]: event.output.length,
      [names.errorType]: event.ok ? undefined : event.exitCode === undefined ? 'tool_error' : 'exit_status',
    })
  }

  /** What a call has started, as a tree below it; one whose parent isn't told stands below the call itself. */
  private processes(event: EventOf<'tool.processes'>): void {
    const tool = this.tools.get(event.toolId)
    if (!tool) return
    tool.attributes[names.processesSeen] = event.seen
    const drafts = new Map<number, Draft>()
    for (const process of event.processes) {
      const { pid, parentPid, command, startedAt, endedAt, cpuMs, exitCode, signal } = process
      const parent = drafts.get(parentPid) ?? tool
      const name = executableOf(command)
      const startMs = Math.max(parent.startMs, this.book.timeAt(startedAt))
      const draft = this.book.open({
        key: `process ${event.toolId} ${pid} ${startedAt}`,
        kind: 'process',
        name,
        parent,
        startMs,
        attributes: {
          [names.pid]: pid,
          [names.parentPid]: parentPid,
          [names.executable]: name,
          [names.commandLine]: command.slice(0, titleChars),
          [names.workingDirectory]: process.cwd,
          [names.cpuSeconds]: cpuMs / 1000,
          [names.peakMemory]: process.peakRssBytes,
          [names.readBytes]: process.readBytes,
          [names.writtenBytes]: process.writtenBytes,
          [names.exitCode]: exitCode,
          [names.signal]: signal,
          [names.errorType]: signal ?? (exitCode ? 'exit_status' : undefined),
          [names.measured]: process.measured,
          [names.outlived]: endedAt === null ? true : undefined,
        },
        event,
      })
      drafts.set(pid, draft)
      draft.failed = signal !== undefined || (exitCode ?? 0) !== 0
      const endMs = endedAt === null ? (tool.endMs ?? this.book.timeAt(event.time)) : this.book.timeAt(endedAt)
      this.book.close(draft, event, endMs)
    }
  }

  /** The call that a report is about; the turn where it is about none. */
  ofCall(toolId: string | undefined, turn: Draft): Draft {
    return this.tools.get(toolId ?? '') ?? turn
  }

  private subagentStarted(event: EventOf<'subagent.started'>, atMs: number, turn: Draft): void {
    const parent = this.within(event.toolId ?? event.parentToolId, turn)
    const attributes = {
      [names.operation]: 'invoke_agent',
      [names.agent]: event.kind,
      [names.title]: (event.title ?? event.prompt).slice(0, titleChars),
    }
    const key = `subagent ${event.subagentId}`
    const draft = this.begin(key, 'subagent', `invoke_agent ${event.kind}`, parent, event, atMs, attributes)
    if (event.toolId !== undefined && !this.subagents.has(event.toolId)) this.subagents.set(event.toolId, draft)
    if (!event.background) this.waitedFor.add(draft)
  }

  private permissionResolved(event: EventOf<'permission.resolved'>, atMs: number, turn: Draft): void {
    const attributes = { [names.decision]: event.decision, [names.tool]: event.name }
    if (event.requestId !== undefined && this.end(`permission ${event.requestId}`, event, atMs, attributes)) return
    this.book.note(this.tools.get(event.toolId ?? '') ?? turn, 'vm0.tool.decision', atMs, attributes)
  }

  private compaction(event: EventOf<'compaction'>, atMs: number, turn: Draft): void {
    const attributes = {
      [names.trigger]: event.trigger,
      [names.tokensBefore]: event.preTokens,
      [names.tokensAfter]: event.postTokens,
    }
    const draft =
      event.phase === 'started' || !this.pending.has('compaction')
        ? this.begin('compaction', 'compaction', 'vm0.compaction', turn, event, atMs, attributes)
        : this.pending.get('compaction')
    if (event.phase === 'started' || !draft) return
    draft.failed = event.phase === 'failed'
    this.end('compaction', event, atMs, attributes)
  }

  private hook(event: EventOf<'hook'>, atMs: number, turn: Draft): void {
    const key = `hook ${event.hookId}`
    if (event.phase === 'started' || !this.pending.has(key))
      this.begin(key, 'hook', `vm0.hook ${event.event}`, turn, event, atMs, { [names.hook]: event.name })
    if (event.phase === 'finished')
      this.end(key, event, atMs, { [names.outcome]: event.outcome, [names.exitCode]: event.exitCode })
  }

  private begin(
    key: string,
    kind: Draft['kind'],
    name: string,
    parent: Draft,
    event: Vm0Event,
    startMs: number,
    attributes: Parameters<SpanBook['note']>[3],
  ): Draft {
    const draft = this.book.open({ key, kind, name, parent, startMs, event, ...(attributes ? { attributes } : {}) })
    this.pending.set(key, draft)
    return draft
  }

  private end(key: string, event: Vm0Event, endMs: number, attributes: Parameters<SpanBook['note']>[3]): boolean {
    const draft = this.pending.get(key)
    if (!draft) return false
    this.pending.delete(key)
    this.book.close(draft, event, endMs, attributes)
    return true
  }
}

function executableOf(command: string): string {
  // Of one whose arguments nobody saw there is a name only.
  const [program = ''] = command.replace(/^\[(.*)\]$/s, '$1').split(' ', 1)
  return program.slice(program.lastIndexOf('/') + 1).slice(0, 60) || 'process'
}
