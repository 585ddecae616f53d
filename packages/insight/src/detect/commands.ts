import type { Finding } from '@vm0/contract'
import type { Call } from '../record/call.js'
import type { Missing } from '../record/missing.js'
import { byAgent, changesFile, endOf, evidenceOf, lastLine, nameOf, plural, quoted, type Detector } from './finding.js'

/** The same command fails again and again, and nothing was changed between. */
export const repeatedFailures: Detector = ({ calls }, limits) =>
  byAgent(calls).flatMap((all) => {
    const found: Finding[] = []
    let failing = new Map<string, Call[]>()
    const tell = (same: Call[] | undefined): void => {
      if (!same || same.length < limits.failingRepeats) return
      const last = same.at(-1) as Call
      const command = quoted(last.command ?? '')
      found.push({
        kind: 'cmd.repeat_fail',
        severity: 'warning',
        text: `${command} failed ${same.length} times with no file changed between`,
        evidence: evidenceOf(same),
        adjust: {
          where: 'CLAUDE.md',
          text: `- ${command} ${endOf(last)} here (${lastLine(last.tail)}). Do not run it again before something is changed; the command that works is: <put it here>`,
        },
      })
    }
    const tellAll = (): void => {
      for (const same of failing.values()) tell(same)
      failing = new Map()
    }
    for (const call of all) {
      if (changesFile(call)) tellAll()
      if (call.kind !== 'shell' || call.ok === undefined || call.polls || wasDenied(call)) continue
      if (call.ok) {
        tell(failing.get(call.inputDigest))
        failing.delete(call.inputDigest)
      } else {
        const same = failing.get(call.inputDigest) ?? []
        same.push(call)
        failing.set(call.inputDigest, same)
      }
    }
    tellAll()
    return found
  })

/** A call that the agent's own rules refused did not run. */
function wasDenied({ exitCode, tail }: Call): boolean {
  return exitCode === undefined && /permission|denied|rejected|doesn't want/i.test(tail)
}

const install: Record<Missing['kind'], (what: string) => string> = {
  command: (what) => `RUN apt-get update && apt-get install -y ${what}   # or the package that has the command ${what}`,
  python: (what) => `RUN pip install ${what}`,
  node: (what) =>
    `RUN npm install -g ${what}   # or add ${what} to package.json, and run npm ci before the agent begins`,
  header: (what) => `RUN apt-get update && apt-get install -y <the -dev package that has ${what}>`,
  library: (what) => `RUN apt-get update && apt-get install -y lib${what}-dev`,
}

/** What a command wanted and the template doesn't have. Each run without it pays for finding that out. */
export const missingTools: Detector = ({ calls }) => {
  const missed = new Map<string, { missing: Missing; calls: Call[] }>()
  for (const call of calls) {
    for (const missing of call.missing) {
      const key = `${missing.kind} ${missing.what}`
      const entry = missed.get(key) ?? { missing, calls: [] }
      entry.calls.push(call)
      missed.set(key, entry)
    }
  }
  return [...missed.values()].map(({ missing: { kind, what }, calls: by }) => ({
    kind: 'tool.missing',
    severity: 'warning' as const,
    text: `${kind === 'command' ? 'the command' : `the ${kind} package`.replace(/(header|library) package/, '$1')} ${quoted(what)} is not installed: ${plural(by.length, 'call')} met that`,
    evidence: evidenceOf(by),
    adjust: { where: 'template' as const, text: install[kind](what) },
  }))
}

const tests =
  /\b(?:pytest|jest|vitest|mocha|tox|nox|rspec|phpunit|ctest)\b|\b(?:go|cargo|npm|pnpm|yarn|make|mvn|gradle|dotnet|bun|deno)\s+(?:run\s+)?test\b/

export function isTestRun({ command }: Pick<Call, 'command'>): boolean {
  return command !== undefined && tests.test(command)
}

export const slowTests: Detector = ({ calls }, limits) => {
  const slow = calls.filter((call) => isTestRun(call) && call.durationMs >= limits.testRunMs)
  const [first] = slow
  if (!first) return []
  const seconds = Math.round(Math.max(...slow.map(({ durationMs }) => durationMs)) / 1000)
  const command = quoted(first.command ?? '')
  return [
    {
      kind: 'test.slow',
      severity: 'warning',
      text: `test runs took up to ${seconds} s: ${plural(slow.length, 'call')} of more than ${limits.testRunMs / 1000} s`,
      evidence: evidenceOf(slow),
      adjust: {
        where: 'CLAUDE.md',
        text: `- ${command} takes ${seconds} s. While working, run only the tests of what you changed (<put the command for one file here>); run all once, at the end.`,
      },
    },
  ]
}

const timedOut = /\bcommand timed out after\b/i

/** A command that did not come to its end: it took too long, or waited for somebody to answer. */
export const endlessCommands: Detector = ({ calls }) => {
  const late = calls.filter((call) => call.kind === 'shell' && call.ok === false && timedOut.test(call.tail))
  const [first] = late
  if (!first) return []
  const command = quoted(first.command ?? '')
  return [
    {
      kind: 'cmd.timeout',
      severity: 'warning',
      text: `${plural(late.length, 'command')} did not end in the agent's time: ${command}`,
      evidence: evidenceOf(late),
      adjust: {
        where: 'CLAUDE.md',
        text: `- ${command} does not end by itself. Start servers in the background (\`… > /tmp/out.log 2>&1 &\`), answer questions beforehand (CI=1, --yes), and give what is slow an end (\`timeout 60 …\`).`,
      },
    },
  ]
}

/** Nobody but the kernel, at the memory limit, or somebody's own `kill` ends a command so. Which, its status doesn't say. */
export const killedCommands: Detector = ({ calls, memory }) => {
  // Where it was the memory, that is told by what knows it.
  const known = new Set(memory.map(({ blamed }) => blamed?.toolId))
  const killed = calls.filter(
    (call) =>
      !known.has(call.id) &&
      call.kind === 'shell' &&
      (call.exitCode === 137 || /(?:^|\n)(?:\S+: line \d+: +\d+ )?Killed\b/.test(call.tail)),
  )
  const [first] = killed
  if (!first) return []
  return [
    {
      kind: 'cmd.killed',
      severity: 'warning',
      text: `${quoted(first.command ?? '')} was ended by SIGKILL, as the kernel does at the memory limit; whether it was that, its status does not say`,
      evidence: evidenceOf(killed),
      adjust: {
        where: 'resources',
        text: 'resources: { memoryMiB: <twice of what the session has> }, or fewer workers in that command (-j2, --maxWorkers=2, NODE_OPTIONS=--max-old-space-size=1024)',
      },
    },
  ]
}

const noSpace = /(?:No space left on device|ENOSPC|Disk quota exceeded)/

export function metFullDisk({ kind, tail }: Call): boolean {
  return (kind === 'shell' || kind === 'edit') && noSpace.test(tail)
}

export const fullDisk: Detector = ({ calls }) => {
  const full = calls.filter(metFullDisk)
  const [first] = full
  if (!first) return []
  return [
    {
      kind: 'disk.full',
      severity: 'warning',
      text: `the sandbox's disk was full: ${nameOf(first)} met it${full.length > 1 ? `, and ${plural(full.length - 1, 'call')} after it` : ''}`,
      evidence: evidenceOf(full),
      adjust: {
        where: 'resources',
        text: 'resources: { diskMiB: <twice of what the session has> }, or remove what is not needed: du -xh / | sort -h | tail',
      },
    },
  ]
}

/** A command that was at work whenever the agent was lost may be what ends it. */
export const endsAgent: Detector = ({ losses }) => {
  const own = losses.filter(({ reason }) => reason.startsWith('agent_') || reason === 'sandbox_lost')
  const calls = own.flatMap((loss) => loss.calls.filter(({ kind }) => kind === 'shell').slice(-1))
  const [first] = calls
  if (!first) return []
  const command = quoted(first.command ?? '')
  return [
    {
      kind: 'run.lost',
      severity: 'warning',
      text: `the agent was lost ${plural(own.length, 'time')}, ${calls.length} of them while it ran a command: ${command}`,
      evidence: own.map(({ cursor, reason }) => ({ text: `lost: ${reason}`, cursor })),
      adjust: {
        where: 'CLAUDE.md',
        text: `- Do not run ${command}: it ends the agent itself. End only processes that you started, by their id.`,
      },
    },
  ]
}

const wrongPlace =
  /no such file or directory|not a git repository|could not (?:find|read) (?:a )?package\.json|ENOENT|no makefile found|no rule to make target/i
const changedFolder = /^\s*cd\s+(\S+)\s*(?:&&|;)\s*/

/** A command that fails for its folder, and succeeds in another one. */
export const wrongFolder: Detector = ({ calls }) =>
  byAgent(calls).flatMap((all) => {
    const failed = new Map<string, Call>()
    for (const call of all) {
      if (call.kind !== 'shell' || call.ok === undefined) continue
      const folder = changedFolder.exec(call.command ?? '')?.[1]
      const rest = (call.command ?? '').replace(changedFolder, '').trim()
      const before = failed.get(rest)
      if (!call.ok && wrongPlace.test(call.tail)) failed.set(rest, call)
      else if (call.ok && before && folder !== undefined && folder !== changedFolder.exec(before.command ?? '')?.[1]) {
        const text = `${quoted(rest)} failed in the wrong folder and worked in ${quoted(folder)}`
        const line = `- Run ${quoted(rest)} in ${quoted(folder)}.`
        const evidence = evidenceOf([before, call])
        return [
          {
            kind: 'cwd.wrong',
            severity: 'info' as const,
            text,
            evidence,
            adjust: { where: 'CLAUDE.md' as const, text: line },
          },
        ]
      }
    }
    return []
  })
