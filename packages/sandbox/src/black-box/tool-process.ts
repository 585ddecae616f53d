import type { ToolProcess } from '@vm0/contract'
import { ioOf, type ProcessEntry } from './process-table.js'

const commandChars = 200
const cwdChars = 300

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
