import type { Finding, Thresholds as GivenThresholds } from '@vm0/contract'
import type { RunRecord } from '../record/run-record.js'
import {
  endlessCommands,
  endsAgent,
  fullDisk,
  killedCommands,
  missingTools,
  repeatedFailures,
  slowTests,
  wrongFolder,
} from './commands.js'
import { cacheMisses, compactionLoss, contextPressure, costSpikes, outputFlood, retryStorm } from './context.js'
import { absentFiles, editThrash, rereads, unverified } from './files.js'
import type { Detector } from './finding.js'
import { loops } from './loops.js'
import { starvedOfCpu, unansweredNetwork, usedUpMemory, usedUpProcesses } from './machine.js'
import { deniedTools } from './permissions.js'
import { defaultThresholds, type Thresholds } from './thresholds.js'

const maxPerKind = 5

const detectors: readonly Detector[] = [
  endsAgent,
  usedUpMemory,
  killedCommands,
  usedUpProcesses,
  unansweredNetwork,
  endlessCommands,
  fullDisk,
  missingTools,
  repeatedFailures,
  loops,
  editThrash,
  unverified,
  deniedTools,
  wrongFolder,
  slowTests,
  starvedOfCpu,
  retryStorm,
  contextPressure,
  compactionLoss,
  outputFlood,
  cacheMisses,
  costSpikes,
  rereads,
  absentFiles,
]

/** What of a run is worth changing; warnings first. Of each kind the first five. */
export function findingsOf(record: RunRecord, thresholds: GivenThresholds = {}): Finding[] {
  const given = Object.entries(thresholds).filter(([, value]) => value !== undefined)
  const limits: Thresholds = { ...defaultThresholds, ...Object.fromEntries(given) }
  const counts = new Map<string, number>()
  const all = detectors
    .flatMap((detect) => detect(record, limits))
    .filter(({ kind }) => {
      const count = (counts.get(kind) ?? 0) + 1
      counts.set(kind, count)
      return count <= maxPerKind
    })
  return [...all.filter(({ severity }) => severity === 'warning'), ...all.filter(({ severity }) => severity === 'info')]
}
