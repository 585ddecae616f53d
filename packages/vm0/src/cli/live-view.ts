import type { EventOf, RunView, Vm0Event } from '@vm0/contract/client'
import { changedLines } from './changed-lines.js'
import { byteCount, duration, money, shortId, templateName, timingLine } from './format.js'
import { printable, printableLine } from './printable.js'
import { bold, dim, green, red } from './style.js'

const nameWidth = 6
const titleWidth = 30
const statusWidth = 8
/** What a status needs at the end of a line. */
const statusRoom = 24

type Started = EventOf<'tool.started'>
type Finished = EventOf<'tool.finished'>

export interface LiveViewOptions {
  write: (text: string) => void
  framework: string
  /** Characters in a line. */
  width: number
}

const lossWords: Record<EventOf<'run.resumed'>['reason'], string> = {
  agent_crashed: 'the agent ended unexpectedly',
  agent_killed: 'the agent was killed',
  sandbox_lost: 'the sandbox ended',
  host_lost: 'the host was lost',
  platform_away: 'the platform was away for long',
}

const share = (used: number, total: number): string =>
  `${byteCount(used)} of ${byteCount(total)} (${Math.round((used / Math.max(1, total)) * 100)}%)`

/**
 * A run's events as lines that a person reads while it works. What agents and commands wrote is shown as text: no control
 * character of theirs reaches the terminal.
 */
export class LiveView {
  /** The line has begun and has no newline yet. */
  private inLine = false
  private space = ''
  private openTool: string | undefined
  private readonly tools = new Map<string, Started>()
  private readonly streamed = new Set<string>()

  constructor(private readonly options: LiveViewOptions) {}

  static on(stream: NodeJS.WriteStream, framework: string): LiveView {
    return new LiveView({ write: (text) => stream.write(text), framework, width: stream.columns ?? 100 })
  }

  show(event: Vm0Event): void {
    switch (event.type) {
      case 'sandbox.ready': {
        const { durationMs, sessionId, template, agentVersion } = event
        const agent = printableLine(`${this.options.framework} ${agentVersion}`)
        const what = [`session ${shortId(sessionId)}`, printableLine(templateName(template)), agent]
        this.line(`${green('✓')} ready in ${duration(durationMs)}   ${what.join('  ')}`)
        break
      }
      case 'message.delta':
        this.streamed.add(event.messageId)
        if (!event.parentToolId) this.text(event.text)
        break
      case 'message':
        if (!event.parentToolId && !this.streamed.has(event.messageId))
          this.line(`  ${printable(event.text).trimEnd().replaceAll('\n', '\n  ')}`)
        break
      case 'tool.started':
        this.tools.set(event.toolId, event)
        this.endLine()
        this.write(this.toolHead(event))
        this.openTool = event.toolId
        break
      case 'tool.finished':
        this.finished(event)
        break
      case 'status':
        if (event.state === 'retrying')
          this.line(dim(`  … the model did not answer (${event.httpStatus ?? 'no status'}): try ${event.attempt ?? 1}`))
        break
      case 'message.abandoned':
        if (!event.parentToolId) this.line(dim('  … the answer broke off; it comes again'))
        break
      case 'notice':
        if (event.level !== 'info') this.line(dim(`  ! ${printableLine(event.text, this.width)}`))
        break
      case 'processes.lost': {
        const [first] = event.processes
        const others = event.count > 1 ? ` and ${event.count - 1} more` : ''
        this.line(dim(`  ! not running any more: ${printableLine(first?.command ?? '', this.width)}${others}`))
        break
      }
      case 'sandbox.disk_pressure':
        this.line(dim(`  ! ${share(event.usedBytes, event.totalBytes)} of the sandbox's disk is used`))
        break
      case 'project.quota_pressure':
        this.line(dim(`  ! the project stores ${share(event.storedBytes, event.quotaBytes)} of its quota`))
        break
      case 'subagent.started':
        this.line(dim(`  ↳ ${printableLine(`sub-agent: ${event.prompt}`, this.width)}`))
        break
      case 'compaction':
        if (event.phase === 'started') this.line(dim('  … compacting the conversation'))
        break
      case 'permission.requested':
        // Whoever asks the person begins a line of its own.
        this.endLine()
        break
      case 'sandbox.out_of_memory':
        this.line(dim(`  ! ${printableLine(memoryLine(event), this.width)}`))
        break
      case 'run.resumed':
        this.line(dim(`  … ${lossWords[event.reason]}: attempt ${event.attempt} goes on from there`))
        break
      default:
        break
    }
  }

  /** What happened, why, and what to do next; `changed`: how many files it changed, in words. */
  end(run: RunView, changed = ''): void {
    const { state, reason, error, timings, costUsd, checkpoint, sessionId } = run
    if (state !== 'succeeded') {
      const what = `${state}${reason && reason !== state ? ` (${reason})` : ''} after ${duration(timings.totalMs)}`
      this.line(
        `${red('✗')} ${[what, money(costUsd), error?.code]
          .filter(Boolean)
          .map((part) => printableLine(part as string))
          .join('   ')}`,
      )
      if (error) this.line(`  ${printableLine(error.message)}\n  ${printableLine(error.hint)}`)
      return
    }
    const parts = [
      `done in ${duration(timings.totalMs)}`,
      money(costUsd),
      changed,
      checkpoint ? `checkpoint ${shortId(checkpoint)}` : '',
    ]
    this.line(`${green('✓')} ${parts.filter(Boolean).join('   ')}`)
    this.line(dim(`  ${timingLine(timings)}`))
    this.line(dim(`  vm0 pull   ·   vm0 run -s ${shortId(sessionId)} "…"   ·   vm0 trace`))
  }

  private finished(event: Finished): void {
    const started = this.tools.get(event.toolId)
    this.tools.delete(event.toolId)
    if (this.openTool !== event.toolId || !this.inLine) {
      // Something was written in between: the line is told again.
      this.endLine()
      this.write(this.toolHead(started ?? { name: event.name, title: '' }))
    }
    const status = this.toolStatus(event, started)
    if (status) {
      const title = this.title(started ?? { name: event.name, title: '' })
      this.write(`${' '.repeat(Math.max(2, titleWidth + 1 - [...title].length))}${status}`)
    }
    this.endLine()
  }

  private toolHead(tool: Pick<Started, 'name' | 'title' | 'parentToolId'>): string {
    const indent = tool.parentToolId ? '    ' : '  '
    return `${indent}▸ ${bold(printableLine(tool.name).padEnd(nameWidth))} ${this.title(tool)}`
  }

  private title({ name, title }: Pick<Started, 'name' | 'title'>): string {
    const room = Math.max(titleWidth, this.width - statusRoom - Math.max(nameWidth, name.length))
    return printableLine(title.replace(/^\/workspace\/(?=.)/, ''), room)
  }

  private toolStatus(event: Finished, started: Started | undefined): string {
    const kind = started?.kind ?? 'other'
    const took = duration(event.durationMs)
    if (!event.ok) {
      const why = event.exitCode === undefined ? printableLine(event.error ?? '', 60) : `exit ${event.exitCode}`
      const mark = `✗ ${why}`.trimEnd()
      return kind === 'shell' ? `${red(mark.padEnd(statusWidth))}   ${dim(took)}` : red(mark)
    }
    const lines = kind === 'edit' ? changedLines(started?.input) : undefined
    if (lines) {
      const added = lines.added > 0 ? green(`+${lines.added}`) : ''
      return [added, lines.removed > 0 ? red(`−${lines.removed}`) : ''].filter(Boolean).join(' ')
    }
    if (kind === 'read' || kind === 'edit' || kind === 'search' || kind === 'plan') return ''
    return `${green('✓'.padEnd(statusWidth))}   ${dim(took)}`
  }

  private get width(): number {
    return this.options.width
  }

  /** White space at the end waits for what follows: a tool's line, say, needs none. */
  private text(text: string): void {
    if (this.openTool) this.endLine()
    const all = printable(text)
    const shown = all.trimEnd()
    if (shown) {
      this.write(`${this.inLine ? '' : '  '}${(this.space + shown).replaceAll('\n', '\n  ')}`)
      this.space = ''
    }
    if (this.inLine) this.space += all.slice(shown.length)
  }

  private line(text: string): void {
    this.endLine()
    this.write(text)
    this.endLine()
  }

  private write(text: string): void {
    if (text === '') return
    this.inLine = true
    this.options.write(text)
  }

  private endLine(): void {
    if (this.inLine) this.options.write('\n')
    this.inLine = false
    this.space = ''
    this.openTool = undefined
  }
}

function memoryLine({ action, limitBytes, blamed }: EventOf<'sandbox.out_of_memory'>): string {
  const who = blamed ? `${blamed.process.command.slice(0, 60)} had ${byteCount(blamed.rssBytes)}` : 'it was used up'
  const what = {
    stopped_process: 'it was stopped, the agent was told',
    doubled: `raised to ${byteCount(limitBytes)}`,
    stopped_run: 'the run is ended',
    killed_by_kernel: 'the kernel has killed in it',
  }[action]
  return `out of memory: ${who}; ${what}`
}
