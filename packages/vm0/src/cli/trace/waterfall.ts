import type { Span, Trace } from '@vm0/contract/client'
import { byteCount, duration, money } from '../format.js'
import { printableLine } from '../printable.js'
import { memoryLines } from './memory-lines.js'
import { bold, dim, green, red, yellow } from '../style.js'

const nameShare = 0.42
const minBarWidth = 12
/** What a duration, a cost and a note need at the end of a line. */
const figuresWidth = 26
const eighths = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█']

/**
 * A trace as lines: what it is, when it was, how long it took, what it cost. Each span has its part of the one time axis; what
 * has no end reaches to the end of it and is marked.
 */
export function waterfall(trace: Trace, width: number): string[] {
  const nameWidth = Math.max(20, Math.floor(width * nameShare))
  const barWidth = Math.max(minBarWidth, width - nameWidth - figuresWidth - 2)
  const total = Math.max(1, trace.durationMs)
  const branches = branchesOf(trace.spans)
  const head = `${' '.repeat(nameWidth)} ${dim(`0${duration(total).padStart(barWidth - 1)}`)}`
  return [
    head,
    ...trace.spans.map((span, index) => {
      const branch = branches[index] as string
      const name = printableLine(labelOf(span), nameWidth - branch.length).padEnd(nameWidth - branch.length)
      const bar = barOf(span, total, barWidth)
      return `${dim(branch)}${paintName(span, name)} ${paintBar(span, bar)} ${figures(span)}`.trimEnd()
    }),
    ...memoryLines(trace, nameWidth, barWidth),
  ]
}

/** What a person calls it. */
export function labelOf({ kind, name, attributes }: Span): string {
  const text = (key: string): string => String(attributes[key] ?? '')
  switch (kind) {
    case 'run':
      return 'run'
    case 'queue':
      return 'queue'
    case 'start':
      return `start ${text('vm0.start.kind')}`.trim()
    case 'turn':
      return `turn ${text('vm0.turn.index')}`
    case 'model':
      return text('gen_ai.request.model') || name
    case 'tool':
      return `${text('gen_ai.tool.name')} ${text('vm0.tool.title').replace(/^\/workspace\/(?=.)/, '')}`.trim()
    case 'process':
      return text('process.command_line') || name
    case 'subagent':
      return `sub-agent ${text('vm0.tool.title') || text('gen_ai.agent.name')}`
    case 'permission':
      return `permission ${text('gen_ai.tool.name')}`
    case 'compaction':
      return 'compaction'
    case 'hook':
      return `hook ${text('vm0.hook.name')}`
    case 'checkpoint':
      return `checkpoint ${text('vm0.checkpoint.id').slice('sha256:'.length, 'sha256:'.length + 8)}`
  }
}

/** The lines of the tree before each name. */
function branchesOf(spans: readonly Span[]): string[] {
  const depths = new Map<string | null, number>([[null, -1]])
  const all = spans.map(({ id, parentId }) => {
    const depth = (depths.get(parentId) ?? -1) + 1
    depths.set(id, depth)
    return depth
  })
  const branches: string[] = []
  /** Whether a sibling follows at each depth, below the line that is drawn. */
  const follows: boolean[] = []
  for (let index = all.length - 1; index >= 0; index--) {
    const depth = all[index] as number
    const before = Array.from({ length: Math.max(0, depth - 1) }, (_, level) => (follows[level + 1] ? '│ ' : '  '))
    branches.unshift(depth === 0 ? '' : `${before.join('')}${follows[depth] ? '├ ' : '└ '}`)
    follows[depth] = true
    follows.length = depth + 1
  }
  return branches
}

function barOf({ startMs, durationMs }: Span, total: number, width: number): string {
  const from = Math.min(width - 1, Math.floor((startMs / total) * width))
  if (durationMs === null) return `${' '.repeat(from)}${'░'.repeat(width - from)}`
  const part = Math.max(1, Math.round((durationMs / total) * width * 8))
  const full = Math.min(width - from, Math.floor(part / 8))
  const rest = from + full < width && part % 8 > 0 ? eighths[(part % 8) - 1] : ''
  return `${' '.repeat(from)}${'█'.repeat(full)}${rest}`.padEnd(width)
}

function figures({ kind, durationMs, attributes, status }: Span): string {
  const cost = attributes['vm0.cost.usd']
  const peak = kind === 'process' ? attributes['vm0.process.rss.peak'] : undefined
  const exit = attributes['process.exit.code']
  const wrong = exit === undefined ? (attributes['error.type'] ?? 'failed') : `exit ${exit}`
  const parts = [
    (durationMs === null ? 'no end' : duration(durationMs)).padStart(8),
    typeof peak === 'number' ? byteCount(peak) : '',
    typeof cost === 'number' && kind !== 'turn' ? money(cost) : '',
    status === 'error' ? red(`✗ ${printableLine(String(wrong), figuresWidth)}`) : '',
  ]
  return parts.filter(Boolean).join('  ')
}

function paintName({ kind, status }: Span, name: string): string {
  if (status === 'error') return red(name)
  return kind === 'run' || kind === 'turn' ? bold(name) : name
}

function paintBar({ kind, status }: Span, bar: string): string {
  if (status === 'error') return red(bar)
  if (status === 'open') return yellow(bar)
  return kind === 'model' ? green(bar) : bar
}
