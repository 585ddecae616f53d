import { printableLine } from '../printable.js'

const shown = 10

/** The first of many names, for a message. */
export function someOf(names: readonly string[]): string {
  const some = names.slice(0, shown).map((name) => printableLine(name, 100))
  const rest = names.length > shown ? ` and ${names.length - shown} more` : ''
  return `${some.join(', ')}${rest}`
}
