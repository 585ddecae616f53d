import type { Trace } from '@vm0/contract/client'
import { byteCount } from '../format.js'
import { dim } from '../style.js'

const rows = 3
const levels = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']

/** The memory of the sandbox under the spans, on the same time axis; its full height is the most that was in use. */
export function memoryLines(
  { memory, durationMs }: Pick<Trace, 'memory' | 'durationMs'>,
  nameWidth: number,
  width: number,
): string[] {
  if (!memory || memory.points.length === 0) return []
  const { peakBytes, limitBytes } = memory
  const heights = columnsOf(memory.points, Math.max(1, durationMs), width).map((bytes) =>
    bytes === undefined ? 0 : Math.max(1, Math.round((bytes / Math.max(1, peakBytes)) * rows * levels.length)),
  )
  const names = ['memory', `peak ${byteCount(peakBytes)}`, limitBytes > 0 ? `of ${byteCount(limitBytes)}` : '']
  return Array.from({ length: rows }, (_, row) => {
    const below = (rows - 1 - row) * levels.length
    const line = heights.map((height) =>
      height <= below ? ' ' : (levels[Math.min(height - below, levels.length) - 1] ?? ' '),
    )
    return `${dim((names[row] ?? '').padEnd(nameWidth))} ${line.join('')}`.trimEnd()
  })
}

/** The highest in each part of the time; where nothing was told, what was in use before. Nothing before the first and after the last. */
function columnsOf(
  points: NonNullable<Trace['memory']>['points'],
  total: number,
  width: number,
): (number | undefined)[] {
  const columns: (number | undefined)[] = Array.from({ length: width }, () => undefined)
  const at = (ms: number): number => Math.min(width - 1, Math.max(0, Math.floor((ms / total) * width)))
  let before: { column: number; bytes: number } | undefined
  for (const { atMs, bytes } of points) {
    const column = at(atMs)
    if (before) for (let gap = before.column + 1; gap < column; gap += 1) columns[gap] = before.bytes
    columns[column] = Math.max(columns[column] ?? 0, bytes)
    before = { column, bytes }
  }
  return columns
}
