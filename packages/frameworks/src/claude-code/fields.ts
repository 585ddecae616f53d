/** A message of the agent, or a part of one. What it holds is checked where it is read: everything in it may be missing or forged. */
export type Message = Readonly<Record<string, unknown>>

export function record(value: unknown): Message {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Message) : {}
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

export function optionalText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

const maxShort = 256

/** An id or a name, as it is remembered and told; a longer one is cut. */
export function short(value: unknown): string {
  return text(value).slice(0, maxShort)
}

export function optionalShort(value: unknown): string | undefined {
  return short(value) || undefined
}

/** A whole number that is not negative; otherwise undefined. */
export function optionalCount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

export function count(value: unknown): number {
  return optionalCount(value) ?? 0
}

/** A finite number that is not negative; otherwise 0. */
export function amount(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : 0
}

export interface Nested {
  parentToolId?: string
}

/** The tool call in which a message was made: a sub-agent's. */
export function nesting(message: Message): Nested {
  const parent = optionalShort(message.parent_tool_use_id)
  return parent === undefined ? {} : { parentToolId: parent }
}
