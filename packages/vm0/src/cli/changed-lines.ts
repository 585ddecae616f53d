/** Above this many comparisons the parts that differ are counted as a whole. */
const maxComparisons = 4_000_000

export interface ChangedLines {
  added: number
  removed: number
}

/** What an edit's input says that it changes; undefined for a tool whose input says nothing of that. */
export function changedLines(input: unknown): ChangedLines | undefined {
  if (!input || typeof input !== 'object') return undefined
  const { old_string, new_string, content, edits } = input as Record<string, unknown>
  if (typeof old_string === 'string' && typeof new_string === 'string') return countChanges(old_string, new_string)
  if (typeof content === 'string') return countChanges('', content)
  if (!Array.isArray(edits)) return undefined
  const parts = edits.map(changedLines).filter((part) => part !== undefined)
  if (parts.length === 0) return undefined
  return {
    added: parts.reduce((sum, { added }) => sum + added, 0),
    removed: parts.reduce((sum, { removed }) => sum + removed, 0),
  }
}

/** Lines that came and went, by the longest common subsequence. */
export function countChanges(before: string, after: string): ChangedLines {
  const old = linesOf(before)
  const now = linesOf(after)
  let start = 0
  while (start < old.length && start < now.length && old[start] === now[start]) start += 1
  let end = 0
  while (end < old.length - start && end < now.length - start && old.at(-1 - end) === now.at(-1 - end)) end += 1
  const from = old.slice(start, old.length - end)
  const to = now.slice(start, now.length - end)
  const kept = from.length * to.length > maxComparisons ? 0 : commonLength(from, to)
  return { added: to.length - kept, removed: from.length - kept }
}

function linesOf(text: string): string[] {
  if (text === '') return []
  return text.replace(/\n$/, '').split('\n')
}

function commonLength(a: readonly string[], b: readonly string[]): number {
  let row = new Uint32Array(b.length + 1)
  for (const line of a) {
    const next = new Uint32Array(b.length + 1)
    for (let index = 0; index < b.length; index++)
      next[index + 1] = line === b[index] ? row[index]! + 1 : Math.max(row[index + 1]!, next[index]!)
    row = next
  }
  return row[b.length] ?? 0
}
