import { isEnded, type Resources, type RunView, type Thresholds, type Why } from '@vm0/contract'
import { findingsOf } from '../detect/detect.js'
import { adjustWords, nameOf } from '../detect/finding.js'
import type { RunRecord } from '../record/run-record.js'
import { storyOf } from '../story/story.js'
import { lasting } from '../story/words.js'
import { culpritOf } from './culprit.js'
import { reportOf } from './report.js'
import { verdictOf, type Verdict } from './rules.js'

export interface Circumstances {
  /** What the agent was asked. */
  prompt?: string | undefined
  resources?: Resources | undefined
  thresholds?: Thresholds | undefined
}

/**
 * Why a run ended as it did: cause, what was at work, what to do next. What the platform itself knows (the kernel's counters,
 * its own clock, who asked for an end) is the cause; the events say what it met. No model is asked.
 */
export function whyOf(record: RunRecord, run: RunView, { prompt, resources, thresholds }: Circumstances = {}): Why {
  const { id: runId, state, reason, error } = run
  const findings = findingsOf(record, thresholds)
  const culprit = culpritOf(record, run)
  const { memoryMiB, diskMiB } = resources ?? {}
  const verdict: Verdict = !isEnded(state)
    ? goesOn(record, run)
    : state === 'succeeded'
      ? { cause: 'it succeeded', certainty: 'known', next: [] }
      : verdictOf({ record, run, culprit, memoryMiB, diskMiB })
  const told =
    record.finished && error ? [{ text: `${error.code}: ${error.message}`, cursor: record.finished.cursor }] : []
  return {
    runId,
    state,
    reason,
    cause: verdict.cause,
    certainty: verdict.certainty,
    culprit,
    next: [...verdict.next, ...findings.slice(0, 3).map(({ adjust }) => adjustWords(adjust))],
    evidence: [...told, ...(verdict.evidence ?? []), ...lostAttempts(record)],
    report: reportOf(record, run),
    findings,
    story: storyOf(record, run, prompt),
  }
}

function lostAttempts({ losses }: RunRecord): Why['evidence'] {
  return losses.map(({ cursor, reason, attempt, calls }) => {
    const call = calls.findLast(({ kind }) => kind !== 'subagent')
    const during = call ? ` while ${nameOf(call)} was at work` : ''
    return { text: `attempt ${attempt} was lost (${reason})${during}; the run was taken up again`, cursor }
  })
}

function goesOn({ lastMs, calls }: RunRecord, { state, createdAt }: RunView): Verdict {
  const since = calls.length === 0 ? `since ${createdAt}` : `for ${lasting(lastMs)}`
  return { cause: `it has not ended: it is ${state} ${since}`, certainty: 'known', next: ['Follow it: vm0 logs -f'] }
}
