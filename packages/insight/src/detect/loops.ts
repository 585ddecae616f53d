import type { Finding } from '@vm0/contract'
import type { Call } from '../record/call.js'
import { byAgent, changesFile, evidenceOf, nameOf, plural, type Detector } from './finding.js'
import type { Thresholds } from './thresholds.js'

const longestCycle = 4

/**
 * The same calls again and again. They must have the same results too, and no file may have changed between them; whoever
 * waits for something (by its command, or by the time between calls) is in no loop.
 */
export const loops: Detector = ({ calls }, limits) =>
  byAgent(calls)
    .flatMap(withoutProgress)
    .flatMap((segment) => [...repeats(segment, limits), ...cycles(segment, limits), ...stagnation(segment, limits)])

/** Calls between two changes of files. */
function withoutProgress(calls: readonly Call[]): Call[][] {
  const segments: Call[][] = [[]]
  for (const call of calls) {
    if (changesFile(call)) segments.push([])
    else if (call.ok !== undefined && call.kind !== 'plan' && call.kind !== 'subagent' && !call.polls)
      segments.at(-1)?.push(call)
  }
  return segments
}

function repeats(calls: readonly Call[], limits: Thresholds): Finding[] {
  return runs(calls, 1)
    .filter((same) => same.length >= limits.exactRepeats && !waits(same, limits) && !isFailingCommand(same[0] as Call))
    .map((same) => {
      const name = nameOf(same[0] as Call)
      return {
        kind: 'loop.exact',
        severity: 'warning' as const,
        text: `${name} was called ${same.length} times in a row with the same result`,
        evidence: evidenceOf(same),
        adjust: {
          where: 'CLAUDE.md' as const,
          text: `- When ${name} gives the same result twice, do not call it again: change something first, or say what is in the way.`,
        },
      }
    })
}

function cycles(calls: readonly Call[], limits: Thresholds): Finding[] {
  const found: Finding[] = []
  const told = new Set<Call>()
  for (let period = 2; period <= longestCycle; period++) {
    for (const same of runs(calls, period)) {
      const pattern = same.slice(0, period)
      const isPlain = new Set(pattern.map(signature)).size === 1
      if (isPlain || same.length < period * limits.cycleRepeats || waits(same, limits) || told.has(pattern[0] as Call))
        continue
      for (const call of same) told.add(call)
      const names = pattern.map(nameOf).join(', then ')
      found.push({
        kind: 'loop.cycle',
        severity: 'warning',
        text: `${names}: ${Math.floor(same.length / period)} times over with the same results`,
        evidence: evidenceOf(same),
        adjust: {
          where: 'CLAUDE.md',
          text: `- Do not go round between ${names}: after the second round with the same results, say what is in the way.`,
        },
      })
    }
  }
  return found
}

/** One tool that answers the same whatever it is asked. */
function stagnation(calls: readonly Call[], limits: Thresholds): Finding[] {
  const found: Finding[] = []
  let same: Call[] = []
  const tell = (): void => {
    const inputs = new Set(same.map(({ inputDigest }) => inputDigest)).size
    if (same.length < limits.stagnantCalls || inputs < same.length / 2 || waits(same, limits)) return
    const { name } = same[0] as Call
    found.push({
      kind: 'loop.stagnation',
      severity: 'warning',
      text: `${plural(same.length, 'call')} of ${name} in a row gave the same result, though each asked something else`,
      evidence: evidenceOf(same),
      adjust: {
        where: 'CLAUDE.md',
        text: `- When ${name} gives nothing new three times, do not try more variants: look at a directory listing, or ask.`,
      },
    })
  }
  for (const call of calls) {
    const [first] = same
    // A command that says nothing has done its work.
    const says = call.outputChars > 0 && !(call.kind === 'shell' && call.ok && call.tail.trim() === '')
    if (first && says && first.name === call.name && first.outputDigest === call.outputDigest) same.push(call)
    else {
      tell()
      same = says ? [call] : []
    }
  }
  tell()
  return found
}

/** Maximal stretches in which each call is like the one a period before. */
function runs(calls: readonly Call[], period: number): Call[][] {
  const found: Call[][] = []
  let from = 0
  for (let index = period; index <= calls.length; index++) {
    const call = calls[index]
    if (call && signature(call) === signature(calls[index - period] as Call)) continue
    if (index - from > period) found.push(calls.slice(from, index))
    from = index - period + 1
  }
  return found
}

function signature({ inputDigest, outputDigest }: Call): string {
  return `${inputDigest} ${outputDigest}`
}

function waits(calls: readonly Call[], { pollGapMs }: Thresholds): boolean {
  const first = calls[0] as Call
  const last = calls.at(-1) as Call
  return (last.startMs - first.startMs) / Math.max(1, calls.length - 1) >= pollGapMs
}

/** Told by the detector of those. */
function isFailingCommand({ kind, ok }: Call): boolean {
  return kind === 'shell' && ok === false
}
