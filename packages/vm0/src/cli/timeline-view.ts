import type { LogEntry } from '@vm0/contract/client'
import { printableLine } from './printable.js'
import { dim, red, yellow } from './style.js'

const sourceWidth = 7
/** Pieces that come again whole, and what the agent's stream says of itself. */
const pieces = new Set(['message.delta', 'thinking.delta', 'tool.output', 'raw'])

/** What stands above a timeline. */
export function timelineHead({ runId, sessionId, traceId }: LogEntry): string {
  return dim(`run ${runId}   session ${sessionId}   trace ${traceId}`)
}

/** One entry on one line; undefined of one that only a program wants. */
export function timelineLine({ time, source, level, text, details, event }: LogEntry): string | undefined {
  if (event && pieces.has(event.type)) return undefined
  const figures = Object.entries(details ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')
  const mark = level === 'error' ? red('✗') : level === 'warn' ? yellow('!') : ' '
  const said = [printableLine(text), figures && dim(printableLine(figures))].filter(Boolean).join('  ')
  return `${dim(time.slice(11, 23))} ${printableLine(source).padEnd(sourceWidth)} ${mark} ${said}`
}
