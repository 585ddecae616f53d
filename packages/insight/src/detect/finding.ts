import type { Evidence, Finding } from '@vm0/contract'
import type { Call } from '../record/call.js'
import type { RunRecord } from '../record/run-record.js'
import type { Thresholds } from './thresholds.js'

export type Detector = (record: RunRecord, limits: Thresholds) => Finding[]

const maxEvidence = 6
const maxNameChars = 120

/** What to change, and where; a text that is for an option of that name says it itself. */
export function adjustWords({ where, text }: Finding['adjust']): string {
  return text.startsWith(`${where}: `) ? text : `${where}: ${text}`
}

/** The calls that a finding is about: the first ones, and the last. */
export function evidenceOf(calls: readonly Call[]): Evidence[] {
  const told = calls.length > maxEvidence ? [...calls.slice(0, maxEvidence - 1), calls.at(-1) as Call] : calls
  return told.map((call) => ({ text: `${nameOf(call)} ${endOf(call)}`, cursor: call.cursor }))
}

export function nameOf({ name, command, path, title }: Call): string {
  return `${name} ${quoted(command ?? path ?? title)}`.trim()
}

export function quoted(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim().replaceAll('`', "'")
  if (line === '') return ''
  return `\`${line.length > maxNameChars ? `${line.slice(0, maxNameChars - 1)}…` : line}\``
}

export function endOf({ ok, exitCode }: Call): string {
  if (ok === undefined) return 'did not end'
  if (ok) return 'succeeded'
  return exitCode === undefined ? 'failed' : `failed with exit ${exitCode}`
}

/** Calls of one agent after the other: a sub-agent's are its own. */
export function byAgent(calls: readonly Call[]): Call[][] {
  const groups = new Map<string | undefined, Call[]>()
  for (const call of calls) {
    const group = groups.get(call.parentToolId) ?? []
    group.push(call)
    groups.set(call.parentToolId, group)
  }
  return [...groups.values()]
}

export function changesFile(call: Call): boolean {
  return call.kind === 'edit' && call.ok === true
}

export function plural(number: number, noun: string): string {
  return `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`
}

/** The last line that says something. */
export function lastLine(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  return (lines.at(-1) ?? '').trim().slice(0, 200)
}
