/** Lists of one stanza a package, by what names it. */
type Stanzas = Map<string, string>

/**
 * What a list of packages has to say where a session is moved to another template: what the new template has, with what the
 * session itself did on top. Each package counts by itself: it is the session's where the session has it otherwise than the
 * template that it began with. Undefined where one of the texts is no such list.
 */
export function mergeLists(base: string, template: string, session: string): string | undefined {
  const [before, after, own] = [base, template, session].map(stanzasOf)
  if (!before || !after || !own) return undefined
  const isOwn = (key: string): boolean => !isSame(before.get(key), own.get(key))
  const merged: string[] = []
  for (const [key, stanza] of after) {
    const kept = isOwn(key) ? own.get(key) : stanza
    if (kept !== undefined) merged.push(kept)
  }
  for (const [key, stanza] of own) if (!after.has(key) && isOwn(key)) merged.push(stanza)
  return merged.map((stanza) => `${stanza}\n\n`).join('')
}

function stanzasOf(text: string): Stanzas | undefined {
  const stanzas: Stanzas = new Map()
  for (const part of text.split(/\n(?:[ \t]*\n)+/)) {
    const stanza = part.replace(/^\n+|\n+$/g, '')
    if (stanza === '') continue
    const fields = fieldsOf(stanza)
    const name = fields.get('package')
    const key = `${name} ${fields.get('architecture') ?? ''}`
    if (!name || stanzas.has(key)) return undefined
    stanzas.set(key, stanza)
  }
  return stanzas
}

/** By their names in small letters; a line that begins with a space belongs to the field above it. */
function fieldsOf(stanza: string): Map<string, string> {
  const fields = new Map<string, string>()
  let last = ''
  for (const line of stanza.split('\n')) {
    if (/^[ \t]/.test(line)) {
      fields.set(last, `${fields.get(last) ?? ''}\n${line}`)
      continue
    }
    const colon = line.indexOf(':')
    last = line.slice(0, Math.max(0, colon)).toLowerCase()
    fields.set(last, line.slice(colon + 1).trim())
  }
  return fields
}

/** In which order a stanza's fields stand says nothing. */
function isSame(a: string | undefined, b: string | undefined): boolean {
  if (a === b) return true
  if (a === undefined || b === undefined) return false
  const [one, other] = [fieldsOf(a), fieldsOf(b)]
  return one.size === other.size && [...one].every(([name, value]) => other.get(name) === value)
}
