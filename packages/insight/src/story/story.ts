import { isEnded, type RunView, type Story } from '@vm0/contract'
import { plural, quoted } from '../detect/finding.js'
import type { Call } from '../record/call.js'
import type { RunRecord } from '../record/run-record.js'
import { counted, filesOf, stepsOf } from './steps.js'
import { dollars, lasting, listed, said, sentence, someOf, tokenCount } from './words.js'

const maxNames = 5

export type ToldRun = Pick<RunView, 'state' | 'reason' | 'usage' | 'costUsd' | 'text'>

/** A run in plain sentences at three zooms. By rules alone: no model is asked, and the same run gives the same words. */
export function storyOf(record: RunRecord, run: ToldRun, prompt?: string): Story {
  const steps = stepsOf(record)
  return { line: lineOf(record, run, prompt), paragraph: paragraphOf(record, run, prompt), steps }
}

function lineOf(record: RunRecord, run: ToldRun, prompt: string | undefined): string {
  const did = deedsOf(record)
  const asked = prompt === undefined ? '' : `Asked ${said(prompt, 60)}: `
  const how = `${endOf(run)} after ${lasting(record.lastMs)} for ${dollars(run.costUsd)}`
  return sentence(`${asked}${how}${did.length > 0 ? `; ${listed(did)}` : ''}`)
}

function paragraphOf(record: RunRecord, run: ToldRun, prompt: string | undefined): string {
  const { ready, openCalls } = record
  const did = deedsOf(record)
  const open = openCalls.findLast(({ command }) => command !== undefined) ?? openCalls.at(-1)
  const words = record.turns.findLast(({ text }) => text.trim() !== '')?.text ?? record.lastText
  const sentences = [
    prompt === undefined ? '' : `it was asked: ${said(prompt)}`,
    ready ? `its sandbox was ready after ${lasting(ready.atMs)} (${startWords[ready.how] ?? ready.how})` : '',
    did.length > 0 ? `it ${listed(did)}` : record.started && record.calls.length === 0 ? 'it called no tool' : '',
    lostOf(record),
    ...failuresOf(record.calls),
    ...spentOf(record, run),
    `it ${endOf(run)} after ${lasting(record.lastMs)}${open && isEnded(run.state) ? ` while ${nameOf(open)} was at work` : ''}`,
    words.trim() === '' ? '' : `it said last: ${said(words)}`,
  ]
  return sentences.filter(Boolean).map(sentence).join(' ')
}

const startWords: Record<string, string> = { cold: 'made anew', warm: 'a warm one', session: "the session's own" }

function endOf({ state, reason }: ToldRun): string {
  if (!isEnded(state)) return `is ${state}`
  const how = state === 'cancelled' ? 'was cancelled' : state
  return reason === null || reason === state ? how : `${how} (${reason.replaceAll('_', ' ')})`
}

/** What it did in all, sub-agents included. */
function deedsOf({ calls }: RunRecord): string[] {
  const looked = counted(calls)
  const commands = calls.filter(({ kind }) => kind === 'shell')
  const failed = commands.filter(({ ok }) => ok === false).length
  const changed = filesOf(calls.filter(({ kind, ok }) => kind === 'edit' && ok === true))
  const agents = calls.filter(({ kind }) => kind === 'subagent').length
  return [
    looked,
    commands.length > 0 ? `ran ${plural(commands.length, 'command')}${failed > 0 ? ` (${failed} failed)` : ''}` : '',
    changed.length > 0 ? `changed ${someOf(changed, maxNames)}` : '',
    agents > 0 ? `sent ${plural(agents, 'sub-agent')}` : '',
  ].filter(Boolean)
}

function lostOf({ losses }: RunRecord): string {
  if (losses.length === 0) return ''
  const reasons = [...new Set(losses.map(({ reason }) => reason.replaceAll('_', ' ')))]
  return `it was lost and taken up again ${plural(losses.length, 'time')} (${reasons.join(', ')})`
}

/** Commands that failed more than once, the most frequent first. */
function failuresOf(calls: readonly Call[]): string[] {
  const byInput = new Map<string, Call[]>()
  for (const call of calls) {
    if (call.kind !== 'shell' || call.ok === undefined) continue
    const same = byInput.get(call.inputDigest) ?? []
    same.push(call)
    byInput.set(call.inputDigest, same)
  }
  return [...byInput.values()]
    .map((same) => ({ same, failed: same.filter(({ ok }) => !ok).length }))
    .filter(({ failed }) => failed > 1)
    .toSorted((a, b) => b.failed - a.failed)
    .slice(0, 2)
    .map(({ same, failed }) => {
      const end = same.at(-1)?.ok ? ', then succeeded' : ''
      return `${quoted(same[0]?.command ?? '')} failed ${failed} times${end}`
    })
}

function spentOf({ steps }: RunRecord, { usage, costUsd }: ToldRun): string[] {
  const input = usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens
  if (steps.length === 0 && input === 0) return []
  const share = input > 0 ? ` (${Math.round((usage.cacheReadTokens / input) * 100)}% from the cache)` : ''
  const asked = steps.length > 0 ? `the model answered ${plural(steps.length, 'request')}` : 'the model was asked'
  return [
    `${asked}: ${tokenCount(input)} tokens in${share}, ${tokenCount(usage.outputTokens)} out, for ${dollars(costUsd)}`,
  ]
}

function nameOf({ name, command, title }: Call): string {
  return quoted(command ?? title) || name
}
