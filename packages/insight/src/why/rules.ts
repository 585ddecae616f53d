import type { Evidence, RunView, Why } from '@vm0/contract'
import { metFullDisk } from '../detect/commands.js'
import { evidenceOf, nameOf, plural, quoted } from '../detect/finding.js'
import type { RunRecord } from '../record/run-record.js'
import { lasting } from '../story/words.js'

export interface Case {
  record: RunRecord
  run: Pick<RunView, 'state' | 'reason' | 'error' | 'sessionId'>
  culprit: Why['culprit']
  /** What the sandbox had; undefined where it isn't known. */
  memoryMiB: number | undefined
  diskMiB: number | undefined
}

/** The whole command is in the line about what was at work. */
const shownChars = 60

export interface Verdict {
  cause: string
  certainty: Why['certainty']
  next: string[]
  evidence?: Evidence[]
}

type Rule = (all: Case) => Verdict

/** The command that goes on in the run's session. */
function again({ run }: Case, options = ''): string {
  return `vm0 run -s ${run.sessionId.slice(-8)}${options} "…"`
}

const message = ({ run }: Case): string => run.error?.message ?? run.reason ?? run.state

/** What to do about a call that was at work: it is the first thing to change. */
function smaller({ culprit }: Case, how: string): string[] {
  return culprit?.command ? [`Or ${how}: ${quoted(culprit.command.slice(0, shownChars))}`] : []
}

const outOfMemory: Rule = (all) => {
  const twice = all.memoryMiB === undefined ? undefined : all.memoryMiB * 2
  const had = all.memoryMiB === undefined ? '' : ` of ${all.memoryMiB} MiB`
  return {
    cause: `the sandbox ran out of memory${had}, and the kernel killed the agent`,
    certainty: 'known',
    next: [
      `Run it with more memory: ${again(all, ` --memory ${twice ?? 'MIB'}`)}`,
      ...smaller(all, 'have the command use less (fewer workers, a smaller heap, a part of the data at a time)'),
    ],
    evidence: [{ text: "the kernel's own count of processes that it killed at the sandbox's limit rose in this run" }],
  }
}

const timedOut: Rule = (all) => {
  const { calls, lastMs } = all.record
  const longest = calls.toSorted((a, b) => b.durationMs - a.durationMs)[0]
  const share = longest && lastMs > 0 ? Math.round((longest.durationMs / lastMs) * 100) : 0
  return {
    cause: message(all),
    certainty: 'known',
    next: [
      `Give it longer: ${again(all, ' --timeout SECONDS')}; what it did until then is saved`,
      ...(all.culprit?.command
        ? [`Or give the command an end of its own: timeout 60 ${all.culprit.command.split('\n', 1)[0]?.slice(0, 120)}`]
        : []),
    ],
    evidence:
      longest && share >= 20
        ? [
            {
              text: `${nameOf(longest)} took ${lasting(longest.durationMs)}, ${share}% of the run`,
              cursor: longest.cursor,
            },
          ]
        : [],
  }
}

const maxTurns: Rule = (all) => ({
  cause: `the agent used up its turns after ${plural(all.record.calls.length, 'tool call')}, before it was done`,
  certainty: 'known',
  next: [`Go on in the same session: ${again(all)}`, 'Or raise limits.turns, or ask for less in one run'],
})

const refusedKey: Rule = (all) => ({
  cause: "the model endpoint refused the platform's key",
  certainty: 'known',
  next: ['Set a valid ANTHROPIC_API_KEY in the environment of `vm0 up`, start it anew, and go on: ' + again(all)],
  evidence: refusals(all),
})

const modelLimit: Rule = (all) => ({
  cause: `the model endpoint limits how much it is asked: ${message(all)}`,
  certainty: 'known',
  next: [`Wait a little, then go on: ${again(all)}`, 'Run fewer agents at once, or raise the limit with the provider'],
  evidence: refusals(all),
})

const modelFailed: Rule = (all) => ({
  cause: `the model gave no answer of use: ${message(all)}`,
  certainty: 'known',
  next: [`Check the provider's status and the model's name, then go on: ${again(all)}`],
  evidence: refusals(all),
})

function refusals({ record }: Case): Evidence[] {
  const { refusals: all } = record
  return all
    .slice(-3)
    .map(({ status, cursor }) => ({ text: `the model endpoint answered with status ${status}`, cursor }))
}

/** An agent that can't write its own files fails in ways of its own: the full disk is what they have in common. */
const diskOr =
  (otherwise: Rule): Rule =>
  (all) => {
    const full = all.record.calls.filter(metFullDisk)
    const saysSo = /ENOSPC|No space left on device|disk quota exceeded/i.test(`${all.record.stderr} ${message(all)}`)
    if (full.length === 0 && !saysSo) return otherwise(all)
    const had = all.diskMiB === undefined ? '' : ` of ${all.diskMiB} MiB`
    return {
      cause: `the sandbox's disk${had} was full`,
      certainty: 'inferred',
      next: [
        'Make room: vm0 exec rm … (`vm0 exec du -xh /workspace` shows what is large), then go on: ' + again(all),
        'Or begin the session with a larger disk: resources: { diskMiB: … }',
      ],
      evidence: evidenceOf(full.slice(-3)),
    }
  }

const crashed: Rule = (all) => {
  const { exitCode } = (all.run.error?.details ?? {}) as { exitCode?: number }
  const signal = exitCode !== undefined && exitCode > 128 ? `, by signal ${exitCode - 128}` : ''
  return {
    cause: `${message(all)}${signal}`,
    certainty: 'known',
    next: [
      `Go on from the last checkpoint: ${again(all)}`,
      ...(all.culprit?.command
        ? ['See whether the command that was at work ends processes that are not its own (kill, pkill, killall)']
        : []),
    ],
    evidence: all.culprit ? [{ text: `at that moment ${all.culprit.text}` }] : [],
  }
}

const hung: Rule = (all) => ({
  cause: message(all),
  certainty: 'known',
  next: [`Try again: ${again(all)}`, 'If it stays so, see `vm0 doctor`, and what hooks or MCP servers the session has'],
})

const hostLost: Rule = (all) => ({
  cause: message(all),
  certainty: 'known',
  next: [`Go on from the last checkpoint: ${again(all)}`],
  evidence: all.record.checkpoints
    .slice(-1)
    .map(({ id, cursor }) => ({ text: `the last checkpoint is ${id.slice(7, 15)}`, cursor })),
})

const cancelled: Rule = (all) => ({
  cause: 'somebody cancelled it; it did not fail',
  certainty: 'known',
  next: [`Go on where it was: ${again(all)}`],
})

const hostDisk: Rule = (all) => ({
  cause: `the host's own disk is full: ${message(all)}`,
  certainty: 'known',
  next: [
    "Free space on the file system of the platform's data folder (`vm0 gc` removes what nobody needs)",
    `Then go on: ${again(all)}`,
  ],
})

const told: Rule = (all) => ({
  cause: message(all),
  certainty: all.run.error ? 'known' : 'unknown',
  next: [all.run.error?.hint, `Or try again: ${again(all)}`].filter((text) => text !== undefined),
})

const rules: Record<string, Rule> = {
  out_of_memory: outOfMemory,
  timed_out: timedOut,
  max_turns: maxTurns,
  model_unauthorized: refusedKey,
  model_rate_limited: modelLimit,
  model_failed: diskOr(modelFailed),
  agent_failed: diskOr(told),
  agent_crashed: diskOr(crashed),
  output_limit: crashed,
  agent_hung: hung,
  agent_start_failed: diskOr(hung),
  host_lost: hostLost,
  platform_stopped: hostLost,
  host_disk_full: hostDisk,
  sandbox_disk_full: diskOr(told),
  checkpoint_failed: diskOr(told),
  cancelled,
}

/** Why a run that didn't succeed ended so. */
export const verdictOf: Rule = (all) => (rules[all.run.reason ?? ''] ?? told)(all)
