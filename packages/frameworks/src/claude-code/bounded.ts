const maxDepth = 64
const tailLength = 200

/** Keeps the head and the last words of a text that is too long, with a mark of what is missing between them. */
export function boundedText(text: string, maxLength: number): string {
  if (text.length <= maxLength + tailLength) return text
  const missing = text.length - maxLength - tailLength
  return `${text.slice(0, maxLength)}…[${missing} characters cut]…${text.slice(-tailLength)}`
}

/**
 * A copy of a JSON value that is at most about `maxLength` characters long and not deeper than can be written again; what is
 * left out is marked in place.
 */
export function bounded(value: unknown, maxLength: number): { value: unknown; cut: boolean } {
  let left = maxLength
  let cut = false
  const copy = (part: unknown, depth: number): unknown => {
    if (typeof part === 'string') {
      const short = boundedText(part, Math.max(0, left))
      cut ||= short !== part
      left -= short.length
      return short
    }
    left -= 8
    if (typeof part !== 'object' || part === null) return part
    if (depth >= maxDepth) {
      cut = true
      return '…[deeper parts cut]…'
    }
    return Array.isArray(part) ? copyList(part, depth) : copyRecord(part as Record<string, unknown>, depth)
  }
  const copyList = (part: unknown[], depth: number): unknown[] => {
    const items: unknown[] = []
    for (const item of part) {
      if (left <= 0) {
        cut = true
        items.push(`…[${part.length - items.length} more cut]…`)
        break
      }
      items.push(copy(item, depth + 1))
    }
    return items
  }
  const copyRecord = (part: Record<string, unknown>, depth: number): Record<string, unknown> => {
    const entries: [string, unknown][] = []
    const all = Object.entries(part)
    for (const [name, field] of all) {
      if (left <= 0) {
        cut = true
        entries.push(['…', `[${all.length - entries.length} more cut]`])
        break
      }
      const short = boundedText(name, 256)
      cut ||= short !== name
      left -= short.length
      entries.push([short, copy(field, depth + 1)])
    }
    return Object.fromEntries(entries)
  }
  return { value: copy(value, 0), cut }
}

/** Remembers at most `max` entries, the oldest go first: what an agent never ends must not fill the platform's memory. */
export function remember<Key, Value>(map: Map<Key, Value>, key: Key, value: Value, max: number): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > max) for (const oldest of map.keys()) return void map.delete(oldest)
}
