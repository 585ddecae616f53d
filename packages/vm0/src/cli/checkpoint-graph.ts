import type { CheckpointView } from '@vm0/contract/client'
import { count, shortId } from './format.js'
import { printableLine } from './printable.js'
import { bold, dim, green, yellow } from './style.js'

const titleWidth = 60

/** The tree of a session's checkpoints, as `git log --graph` draws it: the newest first, a column for each branch. */
export function checkpointGraph(checkpoints: readonly CheckpointView[]): string {
  const shown = new Set(checkpoints.map(({ id }) => id))
  /** Per column: the checkpoint that comes next in it. */
  let columns: string[] = []
  const lines: string[] = []
  for (const checkpoint of checkpoints) {
    const joined = columns.flatMap((next, column) => (next === checkpoint.id ? [column] : []))
    const [at = columns.length] = joined
    if (joined.length > 1) {
      const merged = new Set(joined.slice(1))
      lines.push(bars(columns.map((_, column) => (merged.has(column) ? '/' : '|'))))
      columns = columns.filter((_, column) => !merged.has(column))
    }
    if (at === columns.length) columns.push(checkpoint.id)
    lines.push(`${columns.map((_, column) => (column === at ? '*' : '|')).join(' ')}  ${about(checkpoint)}`)
    if (checkpoint.parent !== null && shown.has(checkpoint.parent)) columns[at] = checkpoint.parent
    else columns = columns.filter((_, column) => column !== at)
  }
  return lines.map((line) => `${line.trimEnd()}\n`).join('')
}

/** `| |/` for the column that joins the one before it. */
function bars(signs: readonly string[]): string {
  return signs.map((sign, column) => (column === 0 ? sign : sign === '/' ? '/' : ` ${sign}`)).join('')
}

function about(checkpoint: CheckpointView): string {
  const { id, changedFiles, sizeBytes, createdAt, isHead, forks } = checkpoint
  const facts = [
    yellow(shortId(id)),
    what(checkpoint),
    dim([count(changedFiles, 'file'), size(sizeBytes), createdAt.slice(0, 19).replace('T', ' ')].join(', ')),
    ...(isHead ? [green('← head')] : []),
    ...(forks.length > 0 ? [dim(`forked to ${forks.map(shortId).join(', ')}`)] : []),
  ]
  return facts.join('  ')
}

/** What led to it. */
function what({ cause, runId, outcome, name, toolCalls }: CheckpointView): string {
  const run = runId ? `run ${shortId(runId)}` : ''
  switch (cause) {
    case 'run':
      return `${run} ${bold(outcome ?? '')}`
    case 'tool': {
      const [last] = toolCalls.slice(-1)
      if (!last) return run
      const more = toolCalls.length > 1 ? ` and ${toolCalls.length - 1} more` : ''
      return `${run} ▸ ${last.name} ${printableLine(last.title, titleWidth)}${more}`
    }
    case 'manual':
      return name === null ? 'saved' : `saved as ${bold(printableLine(name))}`
    case 'exec':
      return 'after a command'
    case 'close':
      return 'closed'
    case 'idle':
      return 'idle'
  }
}

export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(0)} kB`
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(1)} MB`
  return `${(bytes / 1e9).toFixed(1)} GB`
}
