import { statfsSync } from 'node:fs'
import type { Scene, SceneProcess } from '@vm0/contract'
import { pressureIn } from '../cgroup/meter-v2.js'
import { readOnce } from '../cgroup/open-files.js'
import { folderOf, grownBy, type ProcessEntry } from './process-table.js'

const shownProcesses = 10
const commandChars = 500

export function shownProcess(entry: ProcessEntry, nowMs: number): SceneProcess {
  const { pid, parentPid, command, state, startedAtMs, seenAtMs, ended, rssBytes, peakRssBytes, cpuMs, threads } = entry
  const end = ended ? seenAtMs : nowMs
  return {
    pid,
    parentPid,
    command: command.slice(0, commandChars),
    cwd: (ended ? '' : folderOf(pid).slice(0, 300)) || null,
    state,
    ageMs: Math.max(0, Math.round(end - startedAtMs)),
    rssBytes,
    peakRssBytes,
    grewBytes: grownBy(entry),
    cpuMs,
    threads,
  }
}

export function largest(entries: readonly ProcessEntry[], nowMs: number): SceneProcess[] {
  return entries
    .toSorted((a, b) => b.rssBytes - a.rssBytes)
    .slice(0, shownProcesses)
    .map((entry) => shownProcess(entry, nowMs))
}

/** Of the whole host, where the kernel tells it of no group. */
export function hostPressure(): Scene['pressure'] {
  const of = (kind: string) => pressureIn(readOnce(`/proc/pressure/${kind}`))
  return { of: 'host', memory: of('memory'), cpu: of('cpu'), io: of('io') }
}

const fullShare = 0.99

export const isFull = ({ usedBytes, totalBytes }: Scene['disk']): boolean =>
  totalBytes > 0 && usedBytes >= totalBytes * fullShare

export function diskOf(path: string): Scene['disk'] {
  try {
    const { blocks, bavail, bsize } = statfsSync(path)
    return { usedBytes: (blocks - bavail) * bsize, totalBytes: blocks * bsize }
  } catch {
    return { usedBytes: 0, totalBytes: 0 }
  }
}

/** `link`: the host's end of its link, where what it sends comes in. */
export function networkOf(link: string): Scene['network'] {
  const counter = (name: string): number => Number(readOnce(`/sys/class/net/${link}/statistics/${name}`)) || 0
  return { receivedBytes: counter('tx_bytes'), sentBytes: counter('rx_bytes') }
}
