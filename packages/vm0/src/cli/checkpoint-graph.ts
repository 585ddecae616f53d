import type { CheckpointView } from '@vm0/contract/client'
import { byteCount, count, shortId } from './format.js'
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
    while (joined.length > 1) {
      const column = joined.pop() as number
      lines.push(join(joined.at(-1) as number, column))
      columns = columns.filter((_, index) => index !== column)
    }
    if (at === columns.length) columns.push(checkpoint.id)
    lines.push(`${columns.map((_, column) => (column === at ? '*' : '|')).join(' ')}  ${about(checkpoint)}`)
    if (checkpoint.parent !== null && shown.has(checkpoint.parent)) columns[at] = checkpoint.parent
    else columns = columns.filter((_, column) => column !== at)
  }
  return lines.map((line) => `${line.trimEnd()}\n`).join('')
}

/** A column that ends in another one to its left: `| |/`, or over those between them: `|_|/`. */
function join(into: number, column: number): string {
  return `${'| '.repeat(into)}|${'_|'.repeat(column - into - 1)}/`
}

function about(checkpoint: CheckpointView): string {
  const { id, changedFiles, sizeBytes, createdAt, isHead, forks } = checkpoint
  const facts = [
    yellow(shortId(id)),
    what(checkpoint),
    dim([count(changedFiles, 'file'), byteCount(sizeBytes), createdAt.slice(0, 19).replace('T', ' ')].join(', ')),
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
    case 'import':
      return 'imported'
    case 'upgrade':
      return 'moved to another template'
    case 'exec':
      return 'after a command'
    case 'close':
      return 'closed'
    case 'idle':
      return 'idle'
  }
}
