import type { Finding } from '@vm0/contract'
import type { Call } from '../record/call.js'
import { byAgent, changesFile, evidenceOf, quoted, type Detector } from './finding.js'

/** Edits of one file that take back what an edit before them did. That a file is edited often is no fault. */
export const editThrash: Detector = ({ calls }, limits) =>
  byAgent(calls).flatMap((all) => {
    const found: Finding[] = []
    const edits = new Map<string, { call: Call; index: number }[]>()
    for (const [index, call] of all.entries()) {
      if (!changesFile(call) || call.path === undefined) continue
      const recent = (edits.get(call.path) ?? []).filter((edit) => index - edit.index < limits.thrashCalls)
      recent.push({ call, index })
      edits.set(call.path, recent)
      const takesBack = recent.some(({ call: earlier }) => earlier !== call && undoes(call, earlier))
      if (recent.length < limits.thrashEdits || !takesBack) continue
      const file = quoted(call.path)
      found.push({
        kind: 'edit.thrash',
        severity: 'warning',
        text: `${file} was edited ${recent.length} times within ${limits.thrashCalls} calls, and an edit was taken back`,
        evidence: evidenceOf(recent.map((edit) => edit.call)),
        adjust: {
          where: 'CLAUDE.md',
          text: `- Before changing ${file}, read the test that fails and say in one sentence what the change must do; check it (<put the type check or the test here>) before the next edit.`,
        },
      })
      edits.set(call.path, [])
    }
    return found
  })

function undoes({ change }: Call, { change: earlier }: Call): boolean {
  return change !== undefined && earlier !== undefined && change.to === earlier.from && change.from === earlier.to
}

/** The same part of a file, read again though nothing of it has changed, and though no compaction dropped it. */
export const rereads: Detector = ({ calls, compactions }, limits) => {
  const reads = new Map<string, Call[]>()
  const found = new Map<string, Call[]>()
  const dropped = new Set(compactions.map(({ callsBefore }) => callsBefore))
  for (const [index, call] of calls.entries()) {
    if (dropped.has(index)) reads.clear()
    if (changesFile(call)) for (const [key, same] of reads) if (same[0]?.path === call.path) reads.delete(key)
    if (call.kind !== 'read' || call.ok !== true || call.path === undefined) continue
    const key = `${call.parentToolId ?? ''} ${call.inputDigest} ${call.outputDigest}`
    const same = reads.get(key) ?? []
    same.push(call)
    reads.set(key, same)
    if (same.length >= limits.rereads) found.set(key, same)
  }
  return [...found.values()].map((same) => {
    const file = quoted(same[0]?.path ?? '')
    return {
      kind: 'read.again',
      severity: 'info' as const,
      text: `${file} was read ${same.length} times though it had not changed`,
      evidence: evidenceOf(same),
      adjust: {
        where: 'CLAUDE.md' as const,
        text: `- What ${file} is for: <put two sentences here>. Search it with Grep for what you need; do not read it again when it has not changed.`,
      },
    }
  })
}

const absent = /does not exist|no such file|not found|ENOENT/i

/** Files that the agent believed to be there. */
export const absentFiles: Detector = ({ calls }, limits) => {
  const guessed = new Map<string, Call>()
  for (const call of calls)
    if ((call.kind === 'read' || call.kind === 'edit') && call.ok === false && call.path && absent.test(call.tail))
      guessed.set(call.path, call)
  if (guessed.size < limits.absentFiles) return []
  const names = [...guessed.keys()].slice(0, 3).map(quoted).join(', ')
  return [
    {
      kind: 'path.guessed',
      severity: 'info',
      text: `${guessed.size} files that are not there were asked for: ${names}`,
      evidence: evidenceOf([...guessed.values()]),
      adjust: {
        where: 'CLAUDE.md',
        text: '- Where things are: <put the main folders here, a line each>. List a folder before you read from it.',
      },
    },
  ]
}

const claims =
  /\b(?:(?:all )?(?:the )?tests? (?:now )?pass(?:es|ed)?|all (?:tests|checks) (?:are )?(?:green|passing)|verified (?:that|by)|everything passes)\b/i
const code = /\.(?:[cm]?[jt]sx?|py|go|rs|java|kt|rb|php|c|cc|cpp|h|cs|swift|scala|vue|svelte)$/

/** It says that it has checked its work, and nothing was run since the last edit. */
export const unverified: Detector = ({ calls, turns }) => {
  const last = turns.at(-1)
  const edit = calls.findLastIndex((call) => changesFile(call) && code.test(call.path ?? ''))
  if (!last || edit < 0 || !claims.test(last.text)) return []
  if (calls.slice(edit + 1).some(({ kind }) => kind === 'shell' || kind === 'mcp' || kind === 'subagent')) return []
  return [
    {
      kind: 'done.unverified',
      severity: 'warning',
      text: 'the answer says that checks pass, but nothing was run after the last edit',
      evidence: [...evidenceOf([calls[edit] as Call]), { text: 'the answer', cursor: last.cursor }],
      adjust: {
        where: 'CLAUDE.md',
        text: '- Before you say that it is done, run <put the check here> and show its last lines.',
      },
    },
  ]
}
