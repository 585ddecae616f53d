import { stripVTControlCharacters } from 'node:util'

// oxlint-disable no-control-regex -- finding them is the purpose

/**
 * Text that somebody else wrote (an agent, a command, a server) so that a terminal only shows it: escape sequences are
 * taken out, every other control character but newline and tab becomes a visible sign, and what would turn the direction
 * of the text around is dropped.
 */
export function printable(text: string): string {
  return stripVTControlCharacters(text)
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(/[\u0000-\u0008\u000B-\u001F]/g, (sign) =>
      String.fromCodePoint(0x2400 + (sign.codePointAt(0) as number)),
    )
    .replaceAll('\u007F', '\u2421')
    .replaceAll(/[\u0080-\u009F]/g, '\uFFFD')
    .replaceAll(/[\u202A-\u202E\u2066-\u2069]/g, '')
}

/** The same on one line, of at most `length` characters. */
export function printableLine(text: string, length = Infinity): string {
  const line = printable(text).replaceAll(/\s+/g, ' ').trim()
  const signs = [...line]
  return signs.length > length ? `${signs.slice(0, length - 1).join('')}…` : line
}

/** One object as one line; control characters that JSON leaves as they are become escapes of the same meaning. */
export function jsonLine(value: unknown): string {
  const escape = (sign: string): string => `\\u${(sign.codePointAt(0) as number).toString(16).padStart(4, '0')}`
  return `${JSON.stringify(value).replaceAll(/[\u007F-\u009F\u2028\u2029]/g, escape)}\n`
}
