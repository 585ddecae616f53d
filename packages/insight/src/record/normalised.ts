import { stripVTControlCharacters } from 'node:util'

/** Text without what differs each time a command runs: times, durations, addresses, temporary names. */
export function normalised(text: string): string {
  return stripVTControlCharacters(text)
    .replaceAll(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?/g, '<time>')
    .replaceAll(/\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b/g, '<time>')
    .replaceAll(/\b\d+(?:\.\d+)?\s?(?:ms|s|secs?|seconds|min|minutes)\b/g, '<duration>')
    .replaceAll(/\/tmp\/[\w./-]+/g, '<temporary>')
    .replaceAll(/\b0x[0-9a-f]+\b/gi, '<address>')
    .replaceAll(/\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b/g, '<hex>')
    .replaceAll(/[ \t]+/g, ' ')
    .trim()
}
