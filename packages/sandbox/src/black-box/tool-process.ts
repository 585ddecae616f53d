import type { ToolProcess } from '@vm0/contract'
import { ioOf, type ProcessEntry } from './process-table.js'

const commandChars = 200
const cwdChars = 300

const isUnnamed = ({ command }: ProcessEntry): boolean => command.startsWith('[')

/** A process as it is told of a tool call: what the kernel or /proc does not tell of it is absent. */
export function toolProcess(entry: ProcessEntry): ToolProcess {
  const { pid, parentPid, command, cwd, startedAtMs, seenAtMs, ended, cpuMs, peakRssBytes, end } = entry
  // Of one that goes on, up to now.
  const io = end ?? (ended ? undefined : ioOf(pid))
  return {
    pid,
    parentPid,
    command: command.slice(0, commandChars),
    ...(cwd === '' ? {} : { cwd: cwd.slice(0, cwdChars) }),
    startedAt: new Date(startedAtMs).toISOString(),
    endedAt: ended ? new Date(Math.max(seenAtMs, startedAtMs)).toISOString() : null,
    cpuMs: Math.round(cpuMs * 10) / 10,
    peakRssBytes,
    ...(io ? { readBytes: io.readBytes, writtenBytes: io.writtenBytes } : {}),
    ...(end && end.exitCode !== null ? { exitCode: end.exitCode } : {}),
    ...(end && end.signal !== null ? { signal: end.signal } : {}),
    ...(ended ? { measured: end ? ('kernel' as const) : ('sampled' as const) } : {}),
  }
}

/**
 * What a command is, of the tree that an agent started for it: the shell that it puts around the command tells nothing where
 * that has processes of its own, nor do the shell's arguments of those that are parts of it.
 */
export function ofCommand([shell, ...below]: readonly ProcessEntry[]): readonly ProcessEntry[] {
  if (!shell || below.length === 0) return shell ? [shell] : []
  return below.map((entry) =>
    entry.command === shell.command && !isUnnamed(entry) ? { ...entry, command: `${entry.name} (subshell)` } : entry,
  )
}
