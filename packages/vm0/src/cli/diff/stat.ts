import type { DiffEntry, DiffSide } from '@vm0/contract/client'
import { count } from '../format.js'
import { green, red } from '../style.js'
import { quoted, shownPath } from './git-format.js'

export interface StatRow {
  name: string
  /** Lines; absent where the content is no text, too large for it, or the same. */
  lines?: { added: number; removed: number }
  /** What is told instead. */
  note: string
}

const barWidth = 40

export function statRow(entry: DiffEntry): StatRow {
  const { path, before, after, patch, patchLeftOut, contentChanged } = entry
  const name = quoted(shownPath(path))
  if (patch !== undefined) return { name, lines: countLines(patch), note: '' }
  if (patchLeftOut === 'binary' || patchLeftOut === 'large')
    return { name, note: `Bin ${before?.sizeBytes ?? 0} -> ${after?.sizeBytes ?? 0} bytes` }
  if (!contentChanged) return { name, note: modeNote(before, after) }
  return { name, note: typeNote(before, after) }
}

function countLines(patch: string): { added: number; removed: number } {
  let added = 0
  let removed = 0
  for (const line of patch.split('\n'))
    if (line.startsWith('+')) added += 1
    else if (line.startsWith('-')) removed += 1
  return { added, removed }
}

function modeNote(before: DiffSide | null, after: DiffSide | null): string {
  if (before && after && before.mode !== after.mode)
    return `mode ${before.mode.toString(8)} -> ${after.mode.toString(8)}`
  return 'owner or attributes'
}

function typeNote(before: DiffSide | null, after: DiffSide | null): string {
  if (before && after) return `${before.type} -> ${after.type}`
  return before ? `${before.type} removed` : `${after?.type} added`
}

/** A line for each, names aligned, with a bar of as many signs as lines came and went, and the sums. */
export function* statLines(rows: readonly StatRow[]): Generator<string> {
  const width = Math.max(0, ...rows.map(({ name }) => name.length))
  const most = Math.max(1, ...rows.map(({ lines }) => (lines ? lines.added + lines.removed : 0)))
  const scale = Math.min(1, barWidth / most)
  const digits = String(most).length
  const sums = { added: 0, removed: 0 }
  for (const { name, lines, note } of rows) {
    const head = ` ${name.padEnd(width)} | `
    if (!lines) {
      yield head + note
      continue
    }
    sums.added += lines.added
    sums.removed += lines.removed
    const signs = (number: number, sign: string): string => sign.repeat(Math.ceil(number * scale))
    const bar = `${green(signs(lines.added, '+'))}${red(signs(lines.removed, '-'))}`
    yield `${head}${String(lines.added + lines.removed).padStart(digits)} ${bar}`.trimEnd()
  }
  const parts = [`${count(rows.length, 'file')} changed`]
  if (sums.added > 0) parts.push(`${count(sums.added, 'insertion')}(+)`)
  if (sums.removed > 0) parts.push(`${count(sums.removed, 'deletion')}(-)`)
  if (rows.length > 0) yield ` ${parts.join(', ')}`
}
