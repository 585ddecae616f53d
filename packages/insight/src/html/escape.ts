const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/**
 * Text as a page shows it and nothing else: markup is spelled out, control characters but newline and tab are signs, and what
 * would turn the direction of the text around is dropped.
 */
export function escaped(text: string): string {
  return (
    text
      .replaceAll(/\r\n?/g, '\n')
      // oxlint-disable-next-line no-control-regex -- finding them is the purpose
      .replaceAll(/[\u0000-\u0008\u000B-\u001F]/g, (sign) => String.fromCodePoint(0x2400 + (sign.codePointAt(0) ?? 0)))
      .replaceAll(/[\u007F-\u009F]/g, '\uFFFD')
      .replaceAll(/[\u202A-\u202E\u2066-\u2069]/g, '')
      .replaceAll(/[&<>"']/g, (sign) => entities[sign] ?? '')
  )
}
