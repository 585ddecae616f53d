import type { Finding } from '@vm0/contract'
import type { RunRecord } from '../record/run-record.js'
import {
  endsAgent,
  fullDisk,
  killedCommands,
  missingTools,
  repeatedFailures,
  slowTests,
  wrongFolder,
} from './commands.js'
import { cacheMisses, compactionLoss, contextPressure, costSpikes, outputFlood, retryStorm } from './context.js'
import { editThrash, rereads, unverified } from './files.js'
import type { Detector } from './finding.js'
import { loops } from './loops.js'
import { deniedTools } from './permissions.js'
import { defaultThresholds, type Thresholds } from './thresholds.js'

const maxPerKind = 5

const detectors: readonly Detector[] = [
  endsAgent,
  killedCommands,
  fullDisk,
  missingTools,
  repeatedFailures,
  loops,
  editThrash,
  unverified,
  deniedTools,
  wrongFolder,
  slowTests,
  retryStorm,
  contextPressure,
  compactionLoss,
  outputFlood,
  cacheMisses,
  costSpikes,
  rereads,
]

/** What of a run is worth changing; warnings first. Of each kind the first five. */
export function findingsOf(record: RunRecord, thresholds: Partial<Thresholds> = {}): Finding[] {
  const limits = { ...defaultThresholds, ...thresholds }
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
