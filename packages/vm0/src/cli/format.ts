import type { Timings } from '@vm0/contract/client'
import { printableLine } from './printable.js'

/** The last eight characters of an id, the first eight of a digest. */
export function shortId(id: string): string {
  return id.startsWith('sha256:') ? id.slice(7, 15) : id.slice(-8)
}

/** A template by its name and version. Without a name it is the built-in one, whose version is the digest of what it was built into. */
export function templateName(template: string): string {
  return template.startsWith('sha256:') ? `standard@${shortId(template)}` : template
}

export function duration(ms: number | null): string {
  if (ms === null) return '-'
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`
  if (ms < 59_500) return `${Math.round(ms / 1000)} s`
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

export const money = (usd: number): string => `$${usd.toFixed(2)}`

export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`

export function byteCount(bytes: number): string {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  return power === 0 ? `${bytes} B` : `${(bytes / 1024 ** power).toFixed(1)} ${['', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`
}

/** Columns as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map((cell) => printableLine(cell)))
  const widths = cells[0]?.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0))) ?? []
  return cells
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

/** Every stage of a run's way, each from the API call on. */
export function stageLine(timings: Timings): string {
  const stages: [string, number | null][] = [
    ['authorised', timings.authorisedMs],
    ['placed', timings.queuedMs],
    ['bound', timings.boundMs],
    ['sandbox ready', timings.sandboxReadyMs],
    ['prompt written', timings.promptSentMs],
    ['agent ready', timings.agentReadyMs],
    ['first model request', timings.firstModelRequestMs],
    ['first token', timings.firstTokenMs],
    ['agent finished', timings.agentFinishedMs],
    ['total', timings.totalMs],
  ]
  return stages.map(([name, ms]) => `${name} ${duration(ms)}`).join(' · ')
}

/** Where the time went, each from the API call on. */
export function timingLine(timings: Timings): string {
  const parts: [string, number | null][] = [
    ['queued', timings.queuedMs],
    ['sandbox ready', timings.sandboxReadyMs],
    ['first model request', timings.firstModelRequestMs],
    ['first token', timings.firstTokenMs],
    ['agent finished', timings.agentFinishedMs],
    ['total', timings.totalMs],
  ]
  return parts.map(([name, ms]) => `${name} ${duration(ms)}`).join(' · ')
}
