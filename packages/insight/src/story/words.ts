/** How long, as a person says it. */
export function lasting(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

export const dollars = (usd: number): string => `$${usd.toFixed(2)}`

export function tokenCount(tokens: number): string {
  return tokens < 1000 ? `${tokens}` : `${(tokens / 1000).toFixed(tokens < 10_000 ? 1 : 0)}k`
}

/** `a`, `a and b`, `a, b and c`. */
export function listed(parts: readonly string[]): string {
  if (parts.length < 2) return parts.join('')
  return `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`
}

/** The names of a few, and how many more there are. */
export function someOf(names: readonly string[], max: number): string {
  const more = names.length - max
  return more > 0 ? `${names.slice(0, max).join(', ')} and ${more} more` : listed(names)
}

export function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.!?…]”?$/.test(text) ? '' : '.'}`
}

/** What somebody said, on one line and not too long. */
export function said(text: string, length = 160): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  const signs = [...line]
  return `“${signs.length > length ? `${signs.slice(0, length - 1).join('')}…` : line}”`
}
