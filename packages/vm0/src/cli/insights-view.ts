import type { Cohort, Comparison, Estimate, Insights } from '@vm0/contract/client'
import { count, duration, money, shortId, table } from './format.js'
import { printableLine } from './printable.js'
import { bold, dim, green, red, yellow } from './style.js'

const share = (value: number | null): string => (value === null ? '-' : `${Math.round(value * 100)}%`)
const number = (value: number | null): string => (value === null ? '-' : value.toFixed(value < 10 ? 1 : 0))
const dollars = (value: number | null): string => (value === null ? '-' : money(value))

/** `92% (78% to 97%)`: the value with its interval. */
function within({ value, low, high }: Estimate, show: (value: number | null) => string): string {
  return low === null || high === null ? show(value) : `${show(value)} (${show(low)} to ${show(high)})`
}

/** Cohorts as a table, then how each differs from the first. */
export function insightLines({ by, runs, more, cohorts }: Insights): string[] {
  if (runs === 0) return ['no runs that have ended fit']
  const head = `${bold(`${count(runs, 'run')} by ${printableLine(by)}`)}${more ? dim('   only the newest: --limit takes more') : ''}`
  const rows = cohorts.map((cohort) => [
    nameOf(cohort),
    String(cohort.runs),
    within(cohort.success, share),
    within(cohort.durationMs, duration),
    within(cohort.costUsd, dollars),
    within(cohort.toolFailures, number),
    share(cohort.died.value),
  ])
  const titles = ['COHORT', 'RUNS', 'SUCCEEDED', 'TIME (MEAN)', 'COST (MEAN)', 'FAILED TOOL CALLS', 'DIED']
  const lines = [
    head,
    '',
    ...table([titles, ...rows])
      .trimEnd()
      .split('\n'),
  ]
  for (const cohort of cohorts) {
    const told = [differenceOf(cohort, cohorts[0] as Cohort), reasonsOf(cohort), findingsOf(cohort)].filter(Boolean)
    if (!cohort.enough) told.push(dim(`only ${count(cohort.runs, 'run')}: too few to say much`))
    if (told.length > 0) lines.push('', bold(nameOf(cohort)), ...told.map((line) => `  ${line}`))
  }
  return lines
}

function nameOf({ value }: Cohort): string {
  if (value === '') return '(none)'
  return value.startsWith('sha256:') ? shortId(value) : printableLine(value, 40)
}

/** Only what the interval says is a difference is called one. */
function differenceOf({ difference }: Cohort, first: Cohort): string {
  if (!difference) return ''
  const parts = [
    changed(
      difference.success,
      (by) => `${Math.round(Math.abs(by) * 100)} points ${by > 0 ? 'more' : 'fewer'} succeed`,
    ),
    changed(difference.durationMs, (by) => `${duration(Math.abs(by))} ${by > 0 ? 'slower' : 'faster'}`),
    changed(difference.costUsd, (by) => `${money(Math.abs(by))} ${by > 0 ? 'dearer' : 'cheaper'}`),
  ].filter(Boolean)
  const than = nameOf(first)
  return parts.length === 0
    ? dim(`no difference from ${than} that would be certain`)
    : `${parts.join(', ')} than ${than}`
}

function changed({ value, low, high }: Estimate, say: (by: number) => string): string {
  if (value === null || low === null || high === null || (low <= 0 && high >= 0)) return ''
  return yellow(say(value))
}

function reasonsOf({ reasons }: Cohort): string {
  const told = Object.entries(reasons).toSorted(([, a], [, b]) => b - a)
  return told.length === 0
    ? ''
    : `did not succeed: ${told.map(([why, runs]) => `${printableLine(why)} ${runs}`).join(', ')}`
}

function findingsOf({ findings }: Cohort): string {
  if (findings.length === 0) return ''
  return `found: ${findings
    .slice(0, 6)
    .map(({ kind, share: part }) => `${kind} in ${share(part.value)}`)
    .join(', ')}`
}

const shown: Record<string, (value: number) => string> = { durationMs: duration, costUsd: money }
const names: Record<string, string> = {
  durationMs: 'time',
  costUsd: 'cost',
  modelRequests: 'model requests',
  toolCalls: 'tool calls',
  toolFailures: 'failed tool calls',
}
/** Calls that both have are told only where they are beside one that differs. */
const contextCalls = 1

/** Two runs beside each other, what differs first. */
export function comparisonLines({ a, b, settings, figures, findings, calls }: Comparison, width: number): string[] {
  const state = (run: Comparison['a']): string => [run.state, run.reason].filter(Boolean).join(' ')
  const rows = [
    ['', shortId(a.id), shortId(b.id)],
    ['ended', state(a), state(b)],
    ...settings.map(({ name, a: x, b: y }) => [name, cut(x), cut(y)]),
    ...figures.map(({ name, a: x, b: y }) => {
      const show = shown[name] ?? ((value: number) => value.toLocaleString('en'))
      return [names[name] ?? name, show(x), show(y)]
    }),
    ...findings.map(({ kind, a: x, b: y }) => [`found ${kind}`, String(x), String(y)]),
  ]
  const lines = table(rows).trimEnd().split('\n')
  if (calls.length === 0) return lines
  const different = calls.map(({ in: where, a: x, b: y }) => where !== 'both' || x?.ok !== y?.ok)
  lines.push('', bold(`calls: ${red('-')} only the first has, ${green('+')} only the second`))
  let skipped = 0
  const tell = (): void => {
    if (skipped > 0) lines.push(dim(`  … ${count(skipped, 'call')} that both have`))
    skipped = 0
  }
  for (const [index, call] of calls.entries()) {
    const near = different.slice(Math.max(0, index - contextCalls), index + contextCalls + 1).includes(true)
    if (!near) {
      skipped += 1
      continue
    }
    tell()
    lines.push(callLine(call, width))
  }
  tell()
  return lines
}

const cut = (text: string | null): string =>
  text === null ? '-' : text.startsWith('sha256:') ? shortId(text) : printableLine(text, 40)

function callLine({ in: where, title, a, b }: Comparison['calls'][number], width: number): string {
  const line = printableLine(title, Math.max(20, width - 24))
  if (where === 'a') return red(`- ${line}   ${endOf(a)}`)
  if (where === 'b') return green(`+ ${line}   ${endOf(b)}`)
  return `  ${line}   ${a?.ok === b?.ok ? dim(endOf(a)) : `${endOf(a)} → ${endOf(b)}`}`
}

function endOf(end: Comparison['calls'][number]['a']): string {
  if (!end || end.ok === null) return 'no end'
  return end.ok ? 'ok' : end.exitCode === null ? 'failed' : `exit ${end.exitCode}`
}
