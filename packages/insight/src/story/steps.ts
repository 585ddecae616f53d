import type { Story } from '@vm0/contract'
import { endOf, plural, quoted } from '../detect/finding.js'
import type { Call } from '../record/call.js'
import type { At, RunRecord } from '../record/run-record.js'
import { memoryWords } from '../why/memory-words.js'
import { starvedWords } from '../why/starvation-words.js'
import { listed, sentence, someOf } from './words.js'

type Step = Story['steps'][number]
type Activity = 'look' | 'edit' | 'shell' | 'subagent' | 'plan' | 'other'

const activities: Record<Call['kind'], Activity> = {
  read: 'look',
  search: 'look',
  fetch: 'look',
  edit: 'edit',
  shell: 'shell',
  subagent: 'subagent',
  plan: 'plan',
  mcp: 'other',
  other: 'other',
}
const maxNames = 4

/**
 * What the agent did, one sentence for calls that belong together: what it looked at, what it changed, each command. What a
 * sub-agent did is told in its own step.
 */
export function stepsOf(record: RunRecord): Step[] {
  const own = record.calls.filter(({ parentToolId }) => parentToolId === undefined)
  const groups: Call[][] = []
  for (const call of own) {
    const last = groups.at(-1)
    if (last && belongs(call, last[0] as Call)) last.push(call)
    else groups.push([call])
  }
  const steps = groups.map((calls) => stepOf(calls, record))
  return [...steps, ...happenings(record)].toSorted((a, b) => a.startMs - b.startMs)
}

function belongs(call: Call, first: Call): boolean {
  const activity = activities[call.kind]
  if (activity !== activities[first.kind]) return false
  return activity === 'shell' ? call.inputDigest === first.inputDigest : activity !== 'subagent'
}

function stepOf(calls: Call[], record: RunRecord): Step {
  const first = calls[0] as Call
  const last = calls.at(-1) as Call
  const endMs = Math.max(...calls.map(({ endMs: end }) => end ?? record.lastMs))
  return {
    text: `${wordsOf(calls, record)}.`,
    startMs: first.startMs,
    durationMs: endMs - first.startMs,
    cursors: [...new Set([first.startedCursor, last.cursor])],
  }
}

function wordsOf(calls: Call[], record: RunRecord): string {
  const [first] = calls as [Call]
  const failed = calls.filter(({ ok }) => ok === false)
  const failures =
    failed.length > 0
      ? ` (${failed.length === calls.length && calls.length === 1 ? 'failed' : `${failed.length} failed`})`
      : ''
  switch (activities[first.kind]) {
    case 'look':
      return `Looked around: ${counted(calls)}${failures}`
    case 'edit':
      return `Changed ${someOf(filesOf(calls), maxNames)}${calls.length > filesOf(calls).length ? ` in ${calls.length} edits` : ''}${failures}`
    case 'shell':
      return ranCommand(calls)
    case 'subagent': {
      const inner = record.calls.filter(({ parentToolId }) => parentToolId === first.id)
      const did = inner.length > 0 ? `, which made ${plural(inner.length, 'call')}` : ''
      return `Sent a sub-agent: ${quoted(first.title)}${did}; it ${endOf(first)}`
    }
    case 'plan':
      return 'Kept its list of tasks'
    case 'other':
      return `Used ${someOf([...new Set(calls.map(({ name }) => name))], maxNames)}${calls.length > 1 ? ` ${calls.length} times` : ''}${failures}`
  }
}

function ranCommand(calls: Call[]): string {
  const [first] = calls as [Call]
  const ends = new Set(calls.map(endOf))
  const times = calls.length > 1 ? ` ${calls.length} times` : ''
  const how =
    ends.size === 1 ? `${times ? ', each ' : ': '}${[...ends].join('')}` : `: ${calls.map(endOf).join(', then ')}`
  return `Ran ${quoted(first.command ?? first.title)}${times}${how}`
}

/** `3 files read, 1 search`. */
export function counted(calls: readonly Call[]): string {
  const of = (kind: Call['kind']): number => calls.filter((call) => call.kind === kind).length
  const files = filesOf(calls.filter(({ kind }) => kind === 'read')).length || of('read')
  const parts = [
    files > 0 ? `read ${plural(files, 'file')}` : '',
    of('search') > 0 ? `searched ${of('search') === 1 ? 'once' : `${of('search')} times`}` : '',
    of('fetch') > 0 ? `fetched ${plural(of('fetch'), 'page')}` : '',
  ]
  return listed(parts.filter(Boolean))
}

/** Files that calls concern, without the workspace's own path. */
export function filesOf(calls: readonly Call[]): string[] {
  return [
    ...new Set(calls.map(({ path, title }) => (path ?? title).replace(/^\/workspace\/(?=.)/, '')).filter(Boolean)),
  ]
}

const reportSteps: Record<string, string> = {
  process_limit: 'The limit on processes was reached: a new one was refused.',
  disk_full: "The sandbox's disk was full.",
}

/** What came from outside, or went wrong between calls. */
function happenings({
  inputs,
  compactions,
  denials,
  refusals,
  retries,
  errors,
  losses,
  memory,
  reports,
}: RunRecord): Step[] {
  const step = (text: string, { cursor, atMs }: At): Step => ({ text, startMs: atMs, durationMs: 0, cursors: [cursor] })
  // The gateway sees each attempt; an agent tells only of some.
  const refused = refusals.length >= retries.length ? refusals : retries
  const [refusal] = refused
  return [
    ...inputs.map((at) => step('Was told something more.', at)),
    ...losses.map((at) => step(`Was lost (${at.reason.replaceAll('_', ' ')}) and taken up again.`, at)),
    ...memory.map((at) => step(sentence(memoryWords(at)), at)),
    ...reports.flatMap((at) => {
      const text = at.trigger === 'cpu_starved' ? `Its processes ${starvedWords(at)}.` : reportSteps[at.trigger]
      return text === undefined ? [] : [step(text, at)]
    }),
    ...compactions.map((at) => step('Its conversation was compacted.', at)),
    ...denials.map((at) => step(`Was denied ${at.tool}${at.title ? ` for ${quoted(at.title)}` : ''}.`, at)),
    ...(refusal
      ? [
          step(
            `The model refused ${plural(refused.length, 'request')} (first with ${refusal.status === undefined ? 'no status' : `status ${refusal.status}`}).`,
            refusal,
          ),
        ]
      : []),
    ...errors.map((at) => step(`Met an error: ${at.message.replaceAll(/\s+/g, ' ').slice(0, 160)}`, at)),
  ]
}
