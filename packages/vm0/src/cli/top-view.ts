import type { LiveSandbox, RunnerStatus } from '@vm0/contract/client'
import { byteCount, count, duration, shortId } from './format.js'
import { printableLine } from './printable.js'
import { bold, dim, red, yellow } from './style.js'

const order: Record<LiveSandbox['state'], number> = { waiting: 0, working: 1, idle: 2, frozen: 3, reclaimed: 4 }
const nearlyFull = 0.85
/** What stands before what it does. */
const figuresWidth = 80

/** The sandboxes that are in use: those that wait for a person first, then those at work, the largest first. */
export function topLines(sandboxes: readonly LiveSandbox[], host: RunnerStatus | undefined, width: number): string[] {
  const sorted = sandboxes.toSorted((a, b) => order[a.state] - order[b.state] || b.memoryBytes - a.memoryBytes)
  const used = sandboxes.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)
  const cpu = sandboxes.reduce((sum, { cpuShare }) => sum + cpuShare, 0)
  const facts = [
    count(sandboxes.length, 'sandbox').replace(/xs$/, 'xes'),
    `${sandboxes.filter(({ state }) => state === 'working').length} at work`,
    byteCount(used),
    `cpu ${percent(cpu)}`,
    ...(host ? [`${host.warm} warm`, `room for ${host.maxSandboxes}`] : []),
  ]
  const head = `${cell('RUN', 9)} ${cell('SESSION', 9)} ${cell('STATE', 9)} ${'MEMORY'.padStart(20)} ${'CPU'.padStart(6)} ${'PROCS'.padStart(6)} ${'SENT'.padStart(10)}  DOING`
  return [facts.join('   '), dim(head), ...sorted.map((each) => rowOf(each, width))]
}

function rowOf(sandbox: LiveSandbox, width: number): string {
  const { runId, sessionId, state, memoryBytes, memoryLimitBytes, cpuShare, processes, doing, doingMs } = sandbox
  const memory = `${byteCount(memoryBytes)}/${byteCount(memoryLimitBytes)}`.padStart(20)
  const shown = memoryLimitBytes > 0 && memoryBytes / memoryLimitBytes > nearlyFull ? red(memory) : memory
  const mark =
    state === 'waiting' ? yellow(cell(state, 9)) : state === 'working' ? bold(cell(state, 9)) : dim(cell(state, 9))
  const lasting = doingMs === null ? '' : ` ${dim(duration(doingMs))}`
  const what = doing === null ? '' : printableLine(doing, Math.max(10, width - figuresWidth - 8))
  const ids = `${cell(runId === null ? '-' : shortId(runId), 9)} ${cell(shortId(sessionId), 9)}`
  return `${ids} ${mark} ${shown} ${percent(cpuShare).padStart(6)} ${String(processes).padStart(6)} ${byteCount(sandbox.sentBytes).padStart(10)}  ${what}${lasting}`.trimEnd()
}

const percent = (share: number): string => `${Math.round(share * 100)}%`
const cell = (text: string, width: number): string => printableLine(text).padEnd(width)
