import { errorTable, isErrorCode, type RunView, type Timings, type Vm0Event } from '@vm0/contract/client'

const paint =
  (code: string) =>
  (text: string): string =>
    process.stdout.isTTY && !process.env.NO_COLOR ? `\u001B[${code}m${text}\u001B[0m` : text
export const dim = paint('2')
export const bold = paint('1')
export const green = paint('32')
export const red = paint('31')

export const shortId = (id: string): string =>
  id
    .replace(/^sha256:/, '')
    .slice(id.startsWith('sha256:') ? 0 : -8)
    .slice(0, 8)

export function duration(ms: number | null): string {
  if (ms === null) return '-'
  return ms < 1000
    ? `${Math.round(ms)} ms`
    : ms < 60_000
      ? `${(ms / 1000).toFixed(1)} s`
      : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

/** A run's events as lines that a person reads while it works. */
export class LiveView {
  private column = 0

  constructor(private readonly write: (text: string) => void) {}

  show(event: Vm0Event): void {
    switch (event.type) {
      case 'sandbox.ready':
        this.line(
          `${green('✓')} ready in ${duration(event.durationMs)} ${dim(`(${event.how})   session ${shortId(event.sessionId)}   claude-code ${event.agentVersion}`)}`,
        )
        break
      case 'message.delta':
        if (!event.parentToolId) this.text(event.text)
        break
      case 'message.abandoned':
        if (!event.parentToolId) this.line(dim('  … the answer broke off; it comes again'))
        break
      case 'tool.started':
        this.endText()
        this.write(`  ▸ ${bold(event.name.padEnd(6))} ${event.title.slice(0, 90)}`)
        this.column = 1
        break
      case 'tool.finished': {
        const status = event.ok ? green('✓') : red(event.exitCode === undefined ? '✗' : `✗ exit ${event.exitCode}`)
        this.write(
          this.column > 0
            ? `  ${status} ${dim(duration(event.durationMs))}\n`
            : `  ▸ ${event.name} ${status} ${dim(duration(event.durationMs))}\n`,
        )
        this.column = 0
        const first = (event.ok ? event.output : (event.error ?? '')).split('\n').slice(0, 6).join('\n    ')
        if (first.trim() && event.name === 'Bash') this.line(dim(`    ${first}`))
        break
      }
      case 'status':
        if (event.state === 'retrying')
          this.line(dim(`  … the model did not answer (${event.httpStatus ?? 'no status'}): try ${event.attempt ?? 1}`))
        break
      case 'notice':
        if (event.level !== 'info') this.line(dim(`  ! ${event.text.split('\n')[0]}`))
        break
      case 'subagent.started':
        this.line(dim(`  ↳ sub-agent: ${event.prompt.split('\n')[0]}`))
        break
      case 'compaction':
        if (event.phase === 'started') this.line(dim('  … compacting the conversation'))
        break
      default:
        break
    }
  }

  end(run: RunView): void {
    this.endText()
    const { totalMs } = run.timings
    if (run.state === 'succeeded') {
      this.line(
        `${green('✓')} done in ${duration(totalMs)}   $${run.costUsd.toFixed(2)}   checkpoint ${shortId(run.checkpoint ?? '')}`,
      )
      this.line(dim(`  ${timingLine(run.timings)}`))
      return
    }
    this.line(
      `${red('✗')} ${run.state}${run.reason ? ` (${run.reason})` : ''} after ${duration(totalMs)}   ${run.error?.code ?? ''}`,
    )
    if (run.error) {
      this.line(`  ${run.error.message}`)
      this.line(`  ${run.error.hint}`)
    }
  }

  private text(text: string): void {
    const indented = text.replaceAll('\n', '\n  ')
    this.write(this.column === 0 ? `  ${indented}` : indented)
    this.column = 1
  }

  private endText(): void {
    if (this.column > 0) this.write('\n')
    this.column = 0
  }

  private line(text: string): void {
    this.endText()
    this.write(`${text}\n`)
  }
}

/** Where the time went, each from the API call on. */
export function timingLine(timings: Timings): string {
  const parts: [string, number | null][] = [
    ['queued', timings.queuedMs],
    ['sandbox ready', timings.sandboxReadyMs],
    ['first model request', timings.firstModelRequestMs],
    ['first token', timings.firstTokenMs],
    ['agent finished', timings.agentFinishedMs],
    ['total', timings.totalMs],
  ]
  return parts.map(([name, ms]) => `${name} ${duration(ms)}`).join(' · ')
}

/** Exit status of the command for a run's end. */
export function exitStatus(run: RunView): number {
  if (run.state === 'succeeded') return 0
  if (run.state === 'cancelled') return 5
  if (run.state === 'failed')
    return run.error && isErrorCode(run.error.code) && errorTable[run.error.code].exit === 6 ? 6 : 3
  return run.reason === 'out_of_memory' ? 4 : 6
}
