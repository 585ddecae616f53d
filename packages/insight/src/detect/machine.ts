import type { EventOf } from '@vm0/contract'
import { isPrivate } from '../why/waits.js'
import { isCrowdedOut, starvedEvidence, starvedWords } from '../why/starvation-words.js'
import { blamedWords, memoryWords } from '../why/memory-words.js'
import type { Detector } from './finding.js'
import { plural, quoted } from './finding.js'

/** The kernel's own word that memory was used up, whatever came of it. */
export const usedUpMemory: Detector = ({ memory }) => {
  const last = memory.at(-1)
  if (!last) return []
  const times = memory.length > 1 ? `${memory.length} times, last: ` : ''
  const megabytes = Math.round(last.limitBytes / 1024 ** 2)
  return [
    {
      kind: 'memory.exceeded',
      severity: 'warning',
      text: `${times}${blamedWords(last)}`,
      evidence: memory.slice(-6).map((event) => ({ text: memoryWords(event), cursor: event.cursor })),
      adjust: {
        where: 'resources',
        text: `resources: { memoryMiB: ${megabytes * (last.action === 'doubled' ? 1 : 2)} }, or fewer workers in that command (-j2, --maxWorkers=2, NODE_OPTIONS=--max-old-space-size=${Math.max(256, Math.round(megabytes / 2))})`,
      },
    },
  ]
}

const of =
  (trigger: EventOf<'sandbox.report'>['trigger']) =>
  ({ reports }: Parameters<Detector>[0]) =>
    reports.filter((report) => report.trigger === trigger)

export const usedUpProcesses: Detector = (record) => {
  const [report] = of('process_limit')(record)
  if (!report) return []
  const { scene, process, alike = 0, cursor } = report
  const most =
    process && alike > 1
      ? `; ${plural(alike, 'process').replace(/ss$/, 'sses')} of ${quoted(process.command.slice(0, 100))}`
      : ''
  return [
    {
      kind: 'pids.exceeded',
      severity: 'warning',
      text: `the kernel refused a new process at the limit of ${scene.processLimit}${most}`,
      evidence: [{ text: `${scene.processCount} processes and threads`, cursor }],
      adjust: {
        where: 'resources',
        text: `resources: { processes: ${scene.processLimit * 2} }, where the command needs so many; otherwise look for what starts processes without end`,
      },
    },
  ]
}

const longMs = 30_000

export const starvedOfCpu: Detector = (record) => {
  // A short run that went well had what it needed, however busy its host was.
  const isTold = (report: EventOf<'sandbox.report'>): boolean =>
    !isCrowdedOut(report) || record.finished?.outcome !== 'succeeded' || (report.cpu?.overMs ?? 0) >= longMs
  const reports = of('cpu_starved')(record).filter(isTold)
  return reports.map((report) => ({
    kind: isCrowdedOut(report) ? 'cpu.crowded' : 'cpu.starved',
    severity: 'info',
    text: `its processes ${starvedWords(report)}`,
    evidence: [starvedEvidence(report)],
    adjust: isCrowdedOut(report)
      ? {
          where: 'host',
          text: 'VM0_MAX_SANDBOXES=<fewer> in the environment of `vm0 up`, or less beside it on that host: more cpus for the session would not help',
        }
      : {
          where: 'resources',
          text: 'resources: { cpus: <twice of what the session has> }, or fewer workers at once',
        },
  }))
}

export const unansweredNetwork: Detector = (record) => {
  const report = of('agent_silent')(record).findLast(({ unanswered = [] }) => unanswered.length > 0)
  const [address] = report?.unanswered ?? []
  if (!report || address === undefined) return []
  return [
    {
      kind: 'net.unanswered',
      severity: 'warning',
      text: `a connection to ${address} was never answered${isPrivate(address) ? ': it is a private address, and sandboxes reach none' : ''}`,
      evidence: [{ text: `nothing came from the agent meanwhile`, cursor: report.cursor }],
      adjust: {
        where: 'CLAUDE.md',
        text: `- ${address} can't be reached from here: don't connect to it; give commands that use the network a time-out (curl -m 20, timeout 60 …).`,
      },
    },
  ]
}
