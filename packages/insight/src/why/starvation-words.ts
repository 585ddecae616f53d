import type { CpuStarvation, Evidence, EventOf } from '@vm0/contract'
import { lasting } from '../story/words.js'

type Report = EventOf<'sandbox.report'> & { cursor: string }

/** Others had the CPUs; without a word about it, it was its own limit. */
export const isCrowdedOut = ({ cpu }: { cpu?: CpuStarvation | undefined }): boolean => cpu?.by === 'others'

const cpusWords = (cpus: number): string => `${cpus} ${cpus === 1 ? 'CPU' : 'CPUs'}`
const percent = (share: number): string => `${Math.round(share * 100)}%`

/** Behind `its processes …`. */
export function starvedWords(report: Pick<Report, 'share' | 'cpu'>): string {
  const { share = 0, cpu } = report
  return isCrowdedOut(report)
    ? `waited ${percent(share)} of the time for a CPU: others on the host had them`
    : `waited ${percent(share)} of the time for CPU time: the sandbox had used up its ${cpu ? cpusWords(cpu.allowedCpus) : 'own'}`
}

export function starvedEvidence(report: Report): Evidence {
  const { cpu, scene, cursor } = report
  const limit = `the kernel kept them from running for ${lasting(scene.cpu.throttledMs)} in all`
  if (!cpu) return { text: limit, cursor }
  const { usedCpus, allowedCpus, waitingTasks, overMs, hostCpus, hostLoad } = cpu
  const measured = `${usedCpus} of ${cpusWords(allowedCpus)} used over ${lasting(overMs)} while ${waitingTasks} tasks waited for one, on average`
  return {
    text: isCrowdedOut(report)
      ? `the kernel's account: ${measured}; the host's load was ${hostLoad} on ${cpusWords(hostCpus)}`
      : `${limit}; ${measured}`,
    cursor,
  }
}

/** What to do about it. */
export function starvedNext(report: Pick<Report, 'cpu'>): string {
  return isCrowdedOut(report)
    ? 'Have fewer sandboxes at work on that host at once (VM0_MAX_SANDBOXES), or see what else uses its CPUs: vm0 top'
    : 'Begin the session with more CPUs: resources: { cpus: … }, or have it do less at once'
}
