import type { RunView, Why } from '@vm0/contract/client'
import { duration, money, shortId } from './format.js'
import { printableLine } from './printable.js'
import { reportLines } from './why-report.js'
import { bold, dim, green, red, yellow } from './style.js'

const labelWidth = 10

/**
 * Cause, what was at work, what to do: in the first five lines, for who has no time. Below them what shows it, what else could
 * be changed, and the story.
 */
export function whyLines(why: Why, run: RunView): string[] {
  const { culprit, next, evidence, report, findings, story } = why
  const output = culprit?.lastOutput.at(-1)
  const [first, ...others] = next.filter((text) => !findings.some(({ adjust }) => text.endsWith(adjust.text)))
  return [
    headOf(why, run),
    why.state === 'succeeded' ? printableLine(story.line) : row('cause', `${why.cause}${doubtOf(why)}`),
    ...(culprit ? [row('culprit', culprit.text)] : []),
    ...(output === undefined ? [] : [row('it said', output)]),
    ...(first === undefined ? [] : [row('next', first)]),
    ...others.map((text) => row('', text)),
    ...section(
      'shown by',
      evidence.map(({ text, cursor }) => `${printableLine(text)}${eventAt(cursor)}`),
    ),
    ...(report
      ? section(`the sandbox then (${printableLine(report.trigger.replaceAll('_', ' '))})`, reportLines(report))
      : []),
    ...section('worth changing', findings.flatMap(findingLines)),
    ...section('story', [printableLine(story.paragraph), ...story.steps.map(stepLine)]),
  ]
}

function headOf({ state, reason }: Why, { id, timings, costUsd }: RunView): string {
  const how = [state, reason === null || reason === state ? '' : `(${reason})`].filter(Boolean).join(' ')
  const mark =
    state === 'succeeded' ? green('✓') : ['failed', 'died', 'cancelled'].includes(state) ? red('✗') : yellow('…')
  const took = timings.totalMs === null ? '' : `after ${duration(timings.totalMs)}`
  return `${mark} ${[bold(printableLine(how)), took, money(costUsd), dim(`run ${shortId(id)}`)].filter(Boolean).join('   ')}`
}

function doubtOf({ certainty }: Why): string {
  return certainty === 'known'
    ? ''
    : certainty === 'inferred'
      ? ' (inferred from what was seen)'
      : ' (not known for sure)'
}

function row(label: string, text: string): string {
  return `  ${dim(label.padEnd(labelWidth))}${printableLine(text)}`
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', bold(title), ...lines.map((line) => `  ${line}`)]
}

function findingLines({ kind, severity, text, evidence, adjust }: Why['findings'][number]): string[] {
  const mark = severity === 'warning' ? yellow('!') : dim('·')
  const cursors = evidence.flatMap(({ cursor }) => (cursor === undefined ? [] : [cursor])).join(', ')
  return [
    `${mark} ${printableLine(text)} ${dim(`${printableLine(kind)}, events ${printableLine(cursors)}`)}`,
    `  ${adjust.text.startsWith(`${adjust.where}: `) ? '' : `${dim(`${printableLine(adjust.where)}:`)} `}${printableLine(adjust.text)}`,
  ]
}

function stepLine({ text, startMs, durationMs }: Why['story']['steps'][number]): string {
  return `${dim(`${duration(startMs).padStart(9)} `)} ${printableLine(text)} ${durationMs > 0 ? dim(duration(durationMs)) : ''}`.trimEnd()
}

function eventAt(cursor: string | undefined): string {
  return cursor === undefined ? '' : dim(`   event ${printableLine(cursor)}`)
}
