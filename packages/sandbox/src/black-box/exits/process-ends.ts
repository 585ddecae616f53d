import { constants } from 'node:os'
import type { TaskExit } from './task-exit.js'

/** How a process has ended and what it had used, by the kernel's own account. */
export interface ProcessEnd {
  pid: number
  parentPid: number
  uid: number
  name: string
  startedAtS: number
  durationMs: number
  /** Of all its threads. */
  cpuMs: number
  /** How long its threads were ready to run and had no CPU, together. */
  waitedMs: number
  peakRssBytes: number
  readBytes: number
  writtenBytes: number
  /** Null of one that a signal ended. */
  exitCode: number | null
  signal: string | null
}

type Sum = Pick<TaskExit, 'cpuMs' | 'waitedMs' | 'readBytes' | 'writtenBytes'> & { first: TaskExit | undefined }

/** Processes with threads that have ended while others go on. */
const maxOpen = 4_096
/** Of wait(2). */
const signalBits = 0x7f

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]))

/** Adds up the threads of each process, whose ends the kernel tells one by one. */
export class ProcessEnds {
  private readonly open = new Map<number, Sum>()

  /** The process, where this was its last thread. */
  add(exit: TaskExit): ProcessEnd | undefined {
    const { processId, isLast } = exit
    const before = this.open.get(processId)
    const sum: Sum = {
      cpuMs: exit.cpuMs + (before?.cpuMs ?? 0),
      waitedMs: exit.waitedMs + (before?.waitedMs ?? 0),
      readBytes: exit.readBytes + (before?.readBytes ?? 0),
      writtenBytes: exit.writtenBytes + (before?.writtenBytes ?? 0),
      first: exit.pid === processId ? exit : before?.first,
    }
    this.open.delete(processId)
    if (!isLast) {
      this.open.set(processId, sum)
      const [oldest] = this.open.keys()
      if (this.open.size > maxOpen && oldest !== undefined) this.open.delete(oldest)
      return undefined
    }
    const { first, cpuMs, waitedMs, readBytes, writtenBytes } = sum
    const { uid, parentPid, name, startedAtS, status } = first ?? exit
    const signal = first ? first.status & signalBits : 0
    return {
      pid: processId,
      uid,
      parentPid,
      name,
      startedAtS,
      durationMs: exit.processDurationMs,
      cpuMs,
      waitedMs,
      peakRssBytes: Math.max(exit.peakRssBytes, first?.peakRssBytes ?? 0),
      readBytes,
      writtenBytes,
      // Of one whose first thread's end was not told it isn't known.
      exitCode: first && signal === 0 ? (status >> 8) & 0xff : null,
      signal: signal === 0 ? null : (signalNames.get(signal) ?? `SIG${signal}`),
    }
  }
}
