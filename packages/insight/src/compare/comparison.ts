import type { Comparison, RunView } from '@vm0/contract'
import type { Call } from '../record/call.js'
import type { RunRecord } from '../record/run-record.js'
import { digestOf, type RunDigest } from './digest.js'

export interface ComparedRun {
  run: RunView
  record: RunRecord
  /** What of its circumstances may differ, as text: `memory` → `2048 MiB`. */
  settings: Record<string, string>
}

/** Longer runs are compared by their first calls: the alignment costs the product of both lengths. */
const maxCalls = 2_000
const maxTitleChars = 200

/** Two runs beside each other: what they were given, what came out, and which calls one has that the other has not. */
export function compareRuns(a: ComparedRun, b: ComparedRun): Comparison {
  const [x, y] = [digestOf(a.record, a.run), digestOf(b.record, b.run)]
  const names = [...new Set([...Object.keys(a.settings), ...Object.keys(b.settings)])]
  const settings = names.map((name) => ({ name, a: a.settings[name] ?? null, b: b.settings[name] ?? null }))
  return {
    a: headOf(a.run),
    b: headOf(b.run),
    settings: [
      ...settings,
      { name: 'template', a: x.template, b: y.template },
      { name: 'release', a: x.release, b: y.release },
      { name: 'model', a: x.model, b: y.model },
    ].filter((setting) => setting.a !== setting.b),
    figures: figures.map(({ name, of }) => ({ name, a: of(x), b: of(y) })),
    findings: findingsIn(x, y),
    calls: alignedCalls(a.record.calls, b.record.calls),
  }
}

function headOf({ id, state, reason }: RunView) {
  return { id, state, reason }
}

const figures: { name: string; of(digest: RunDigest): number }[] = [
  { name: 'durationMs', of: ({ durationMs }) => durationMs },
  { name: 'costUsd', of: ({ costUsd }) => costUsd },
  { name: 'tokens', of: ({ tokens }) => tokens },
  { name: 'modelRequests', of: ({ modelRequests }) => modelRequests },
  { name: 'toolCalls', of: ({ toolCalls }) => toolCalls },
  { name: 'toolFailures', of: ({ toolFailures }) => toolFailures },
]

function findingsIn(x: RunDigest, y: RunDigest): Comparison['findings'] {
  const kinds = new Set([...Object.keys(x.findings), ...Object.keys(y.findings)])
  return [...kinds].toSorted().map((kind) => ({ kind, a: x.findings[kind] ?? 0, b: y.findings[kind] ?? 0 }))
}

/** By what was called, not by when: the longest sequence of calls that both have in this order, and the others between. */
export function alignedCalls(all: readonly Call[], others: readonly Call[]): Comparison['calls'] {
  const [a, b] = [all.slice(0, maxCalls), others.slice(0, maxCalls)]
  const width = b.length + 1
  const lengths = new Uint16Array((a.length + 1) * width)
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      lengths[i * width + j] = same(a[i], b[j])
        ? (lengths[(i + 1) * width + j + 1] as number) + 1
        : Math.max(lengths[(i + 1) * width + j] as number, lengths[i * width + j + 1] as number)
  const rows: Comparison['calls'] = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    const [left, right] = [a[i], b[j]]
    if (left && right && same(left, right)) {
      rows.push({ in: 'both', title: titleOf(left), a: endOf(left), b: endOf(right) })
      i += 1
      j += 1
    } else if (
      right === undefined ||
      (left !== undefined && (lengths[(i + 1) * width + j] as number) >= (lengths[i * width + j + 1] as number))
    ) {
      rows.push({ in: 'a', title: titleOf(left as Call), a: endOf(left as Call), b: null })
      i += 1
    } else {
      rows.push({ in: 'b', title: titleOf(right), a: null, b: endOf(right) })
      j += 1
    }
  }
  return rows
}

const same = (a: Call | undefined, b: Call | undefined): boolean => a?.inputDigest === b?.inputDigest

function titleOf({ name, command, path, title }: Call): string {
  return `${name} ${command ?? path ?? title}`.trim().slice(0, maxTitleChars)
}

function endOf({ id, ok, exitCode, durationMs }: Call) {
  return { toolId: id, ok: ok ?? null, exitCode: exitCode ?? null, durationMs }
}
