import { byteWords, type Evidence, type EventOf, type RunView, type Scene, type Why } from '@vm0/contract'
import { metFullDisk } from '../detect/commands.js'
import { evidenceOf, nameOf, plural, quoted } from '../detect/finding.js'
import type { RunRecord } from '../record/run-record.js'
import { lasting } from '../story/words.js'
import { lastLines } from './culprit.js'
import { hadWords, memoryWords } from './memory-words.js'
import { starvedEvidence, starvedNext, starvedWords } from './starvation-words.js'
import { waitOf, type WaitKind } from './waits.js'

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
const saidChars = 400

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

function heldWords({ memory, processCount }: Scene): string {
  return `the kernel held the sandbox at its limit: ${byteWords(memory.usedBytes)} in use, ${byteWords(memory.anonBytes)} of it of ${plural(processCount, 'task')}`
}

/** What to do about a call that was at work: it is the first thing to change. */
function smaller({ culprit }: Case, how: string): string[] {
  return culprit?.command ? [`Or ${how}: ${quoted(culprit.command.slice(0, shownChars))}`] : []
}

const outOfMemory: Rule = (all) => {
  const met = all.record.memory.at(-1)
  const limitMiB = met ? Math.round(met.limitBytes / 1024 ** 2) : all.memoryMiB
  const twice = limitMiB === undefined ? undefined : limitMiB * 2
  const had = limitMiB === undefined ? '' : ` of ${limitMiB} MiB`
  const held = met?.detected === 'held'
  return {
    cause: held
      ? `the sandbox ran out of memory${had}: ${hadWords(met)}`
      : `the sandbox ran out of memory${had}, and the kernel killed the agent`,
    certainty: 'known',
    next: [
      `Run it with more memory: ${again(all, ` --memory ${twice ?? 'MIB'}`)}`,
      ...smaller(all, 'have the command use less (fewer workers, a smaller heap, a part of the data at a time)'),
    ],
    evidence: met
      ? [{ text: held ? heldWords(met.scene) : memoryWords(met), cursor: met.cursor }]
      : [{ text: "the kernel's own count of processes that it killed at the sandbox's limit rose in this run" }],
  }
}

const timedOut: Rule = (all) => {
  const { calls, lastMs, reports } = all.record
  const starved = reports.find(({ trigger }) => trigger === 'cpu_starved')
  const longest = calls.toSorted((a, b) => b.durationMs - a.durationMs)[0]
  const share = longest && lastMs > 0 ? Math.round((longest.durationMs / lastMs) * 100) : 0
  return {
    cause: starved ? `${message(all)}, and its processes ${starvedWords(starved)}` : message(all),
    certainty: 'known',
    next: [
      ...(starved ? [starvedNext(starved)] : []),
      `Give it longer: ${again(all, ' --timeout SECONDS')}; what it did until then is saved`,
      ...(all.culprit?.command ? [`Or give the command an end of its own: ${withEnd(all.culprit.command)}`] : []),
    ],
    evidence: [
      ...(starved ? [starvedEvidence(starved)] : []),
      ...(longest && share >= 20
        ? [
            {
              text: `${nameOf(longest)} took ${lasting(longest.durationMs)}, ${share}% of the run`,
              cursor: longest.cursor,
            },
          ]
        : []),
    ],
  }
}

/** `timeout` starts a program: what only a shell can do can't be put behind it. */
function withEnd(command: string): string {
  const isProgram =
    /^[\w./-]+( [^;&|<>()`$\n]*)?$/.test(command) && !/^(?:cd|export|source|\.|for|while|if|eval|set) /.test(command)
  return isProgram ? `timeout 60 ${command.slice(0, 120)}` : 'timeout 60 before what takes long in it'
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
    const report = all.record.reports.findLast(({ trigger }) => trigger === 'disk_full')
    const saysSo = /ENOSPC|No space left on device|disk quota exceeded/i.test(`${all.record.stderr} ${message(all)}`)
    if (full.length === 0 && !saysSo && !report) return otherwise(all)
    const had = all.diskMiB === undefined ? '' : ` of ${all.diskMiB} MiB`
    return {
      cause: `the sandbox's disk${had} was full`,
      certainty: 'inferred',
      next: [
        'Make room: vm0 exec rm … (`vm0 exec du -xh /workspace` shows what is large), then go on: ' + again(all),
        'Or begin the session with a larger disk: resources: { diskMiB: … }',
      ],
      evidence: [...(report ? [diskEvidence(report)] : []), ...evidenceOf(full.slice(-3))],
    }
  }

function diskEvidence({ scene, process, cursor }: EventOf<'sandbox.report'>): Evidence {
  const { usedBytes, totalBytes } = scene.disk
  const writer = process ? `; ${quoted(process.command.slice(0, shownChars))} had written most of what ran then` : ''
  return { text: `${byteWords(usedBytes)} of ${byteWords(totalBytes)} were in use${writer}`, cursor }
}

/** An agent that can't start a process fails in its own way too. */
const processLimitOr =
  (otherwise: Rule): Rule =>
  (all) => {
    const report = all.record.reports.findLast(({ trigger }) => trigger === 'process_limit')
    const words = `${all.record.stderr} ${message(all)} ${all.record.lastText} ${all.record.calls.at(-1)?.tail ?? ''}`
    const saysSo =
      /EAGAIN|Resource temporarily unavailable|[Cc]annot fork|can't (?:create|start) (?:a )?(?:new )?thread|retry: /.test(
        words,
      )
    if (!report || !(saysSo || all.run.reason === 'agent_hung' || all.run.reason === 'timed_out')) return otherwise(all)
    const { scene, process, alike = 0 } = report
    const most = process && alike > 1 ? `; ${alike} of them are ${quoted(process.command.slice(0, shownChars))}` : ''
    return {
      cause: `the sandbox used up its ${scene.processLimit} processes and threads${most}`,
      certainty: all.run.reason === 'agent_start_failed' ? 'known' : 'inferred',
      next: [
        `Go on in a fresh sandbox: vm0 sessions close ${all.run.sessionId.slice(-8)}, then ${again(all)}`,
        'Or begin the session with more: resources: { processes: … }',
      ],
      evidence: [
        {
          text: `the kernel refused a new process at ${scene.processCount} of ${scene.processLimit}`,
          cursor: report.cursor,
        },
      ],
    }
  }

const crashed: Rule = (all) => {
  const report = all.record.reports.findLast(({ trigger }) => trigger === 'agent_ended')
  const { exitCode } = (all.run.error?.details ?? {}) as { exitCode?: number }
  const said = lastLines(all.record.stderr).join(' | ').slice(0, saidChars)
  const signal = exitCode !== undefined && exitCode > 128 ? `, by ${signalName(exitCode - 128)}` : ''
  return {
    cause: `${message(all)}${signal}`,
    certainty: 'known',
    next: [
      `Go on from the last checkpoint: ${again(all)}`,
      ...(all.culprit?.command
        ? ['See whether the command that was at work ends processes that are not its own (kill, pkill, killall)']
        : []),
    ],
    evidence: [
      ...(all.culprit ? [{ text: `at that moment ${all.culprit.text}` }] : []),
      ...(report?.crash === undefined
        ? []
        : [{ text: `the kernel saw its fault: ${report.crash}`, cursor: report.cursor }]),
      ...(said === '' ? [] : [{ text: `it said last: ${said}` }]),
      ...(report
        ? [
            {
              text: `the most memory that was in use before is ${byteWords(mostUsed(report.scene))} of ${byteWords(report.scene.memory.limitBytes)}`,
              cursor: report.cursor,
            },
          ]
        : []),
    ],
  }
}

function mostUsed({ memoryCurve, memory }: Scene): number {
  return Math.max(memory.usedBytes, ...memoryCurve.map(({ bytes }) => bytes))
}

function signalName(signal: number): string {
  const names: Record<number, string> = {
    4: 'SIGILL',
    6: 'SIGABRT',
    7: 'SIGBUS',
    8: 'SIGFPE',
    9: 'SIGKILL',
    11: 'SIGSEGV',
    15: 'SIGTERM',
  }
  return `signal ${signal}${names[signal] ? ` (${names[signal]})` : ''}`
}

const hung: Rule = (all) => {
  const report = all.record.reports.findLast(({ trigger }) => trigger === 'agent_silent')
  const wait = report && waitOf(report, all.record.unanswered !== undefined)
  return {
    cause: wait ? `${message(all)}: ${wait.text}` : message(all),
    certainty: 'known',
    next: [
      ...(wait ? hungNext[wait.on] : []),
      `Try again: ${again(all)}`,
      'If it stays so, see `vm0 doctor`, and what hooks or MCP servers the session has',
    ],
    evidence:
      report && wait ? [{ text: `the kernel's view of its processes: ${wait.text}`, cursor: report.cursor }] : [],
  }
}

const hungNext: Record<WaitKind, string[]> = {
  model: ["Check the provider's status, or allow a longer silence: limits: { idleTimeoutMs: … }"],
  network: [
    'Use an address that sandboxes reach, on the internet; give the command a time-out of its own (curl -m 20)',
  ],
  lock: ['Look for a second process that holds it: vm0 exec ps -ef; a left-over lock file can be removed'],
  input: ['Run the command so that it asks nothing: CI=1, --yes, </dev/null'],
  sleep: ['Give the command an end of its own: timeout 60 …'],
  stopped: ['See whether a command stops processes that are not its own (kill -STOP)'],
  computing: ['Allow a longer silence: limits: { idleTimeoutMs: … }, or have the command tell how far it is'],
  unknown: [],
}

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
  timed_out: processLimitOr(timedOut),
  max_turns: maxTurns,
  model_unauthorized: refusedKey,
  model_rate_limited: modelLimit,
  model_failed: diskOr(modelFailed),
  agent_failed: processLimitOr(diskOr(told)),
  agent_crashed: processLimitOr(diskOr(crashed)),
  output_limit: crashed,
  agent_hung: processLimitOr(hung),
  agent_start_failed: processLimitOr(diskOr(hung)),
  host_lost: hostLost,
  platform_stopped: hostLost,
  host_disk_full: hostDisk,
  sandbox_disk_full: diskOr(told),
  checkpoint_failed: diskOr(told),
  cancelled,
}

/** Why a run that didn't succeed ended so. */
export const verdictOf: Rule = (all) => (rules[all.run.reason ?? ''] ?? told)(all)
