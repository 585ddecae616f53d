import { readdirSync, readlinkSync, readFileSync } from 'node:fs'
import { readOnce } from '../cgroup/open-files.js'
import { EndedProcesses } from './ended-processes.js'
import type { ProcessEnd } from './exits/index.js'

/** What is kept of a process of a sandbox while it lives and, for whoever asks then, after its end. */
export interface ProcessEntry {
  /** The host's id. */
  pid: number
  parentPid: number
  /** Ticks since boot: with the id it names one process for ever. */
  startTicks: number
  startedAtMs: number
  /** When it was seen last; it has ended once `ended`. */
  seenAtMs: number
  ended: boolean
  /** What it calls itself: nothing says that it is that. */
  name: string
  /** Its arguments, at most so many characters of them. */
  command: string
  /** Where it worked when it was seen first; empty where that could not be read. */
  cwd: string
  state: string
  threads: number
  cpuMs: number
  rssBytes: number
  peakRssBytes: number
  /** How the kernel says that it has ended; undefined where it doesn't say, or not yet. */
  end?: ProcessEnd
  /** Sizes that it had, the oldest first, at most as many as make a minute. */
  marks: readonly { atMs: number; bytes: number }[]
}

const markMs = 10_000
const markedMs = 60_000
/** Agents put a long preamble before the command that a shell is asked to run. */
const commandChars = 1_200
const tickMs = 10
const pageBytes = 4096
/** Processes that a sandbox has beyond these are counted and not looked at. */
const maxRead = 1_024
/** The processes of one sandbox, from the host's /proc. Each read may come too late: a process that is gone counts as ended. */
export class ProcessTable {
  private readonly living = new Map<number, ProcessEntry>()
  private readonly gone = new EndedProcesses()
  /** Processes at the last look, those that were not looked at included. */
  count = 0

  update(pids: readonly number[], nowMs: number): void {
    this.count = pids.length
    const seen = new Set<number>()
    for (const pid of pids.slice(0, maxRead)) if (this.read(pid, nowMs)) seen.add(pid)
    for (const [pid, entry] of this.living) if (!seen.has(pid)) this.end(pid, entry)
  }

  get processes(): ProcessEntry[] {
    return [...this.living.values()]
  }

  /** Those of the living and the ended that were there at some time after this one. */
  since(ms: number): ProcessEntry[] {
    return [...this.gone.entries, ...this.living.values()].filter(({ seenAtMs }) => seenAtMs >= ms)
  }

  /** How many had ended and were forgotten, unasked, since then. */
  forgottenSince(ms: number): number {
    return this.gone.forgottenSince(ms)
  }

  /** Nobody will ask for what has ended before. */
  forget(beforeMs: number): void {
    this.gone.forget(beforeMs)
  }

  /** The kernel tells of one that has ended, seen here or not. */
  ended(end: ProcessEnd, nowMs: number): void {
    const living = this.living.get(end.pid)
    if (living && isOf(end, living)) {
      this.living.delete(end.pid)
      this.gone.add(withEnd(living, end, nowMs), nowMs)
      return
    }
    const gone = this.gone.find((entry) => entry.pid === end.pid && !entry.end && isOf(end, entry))
    if (gone) Object.assign(gone, withEnd(gone, end, nowMs))
    else this.gone.add(unseen(end, nowMs), nowMs)
  }

  get(pid: number): ProcessEntry | undefined {
    return this.living.get(pid)
  }

  private read(pid: number, nowMs: number): boolean {
    const stat = statOf(pid)
    if (!stat) return false
    const before = this.living.get(pid)
    if (before && before.startTicks !== stat.startTicks) this.end(pid, before)
    const same = before?.startTicks === stat.startTicks ? before : undefined
    // A process that has called another program has another name, and for a moment no arguments yet.
    const isKnown = same?.name === stat.name && same.command !== unnamed(stat.name)
    const command = same && isKnown ? same.command : commandOf(pid, stat.name)
    this.living.set(pid, {
      ...stat,
      pid,
      // Who has started it: an orphan's parent is another one.
      parentPid: same?.parentPid ?? stat.parentPid,
      command,
      cwd: same?.cwd || folderOf(pid),
      startedAtMs: same?.startedAtMs ?? startMs(stat.startTicks, nowMs),
      seenAtMs: nowMs,
      ended: false,
      peakRssBytes: Math.max(same?.peakRssBytes ?? 0, stat.rssBytes),
      marks: marked(same?.marks ?? [], nowMs, stat.rssBytes),
    })
    return true
  }

  private end(pid: number, entry: ProcessEntry): void {
    this.living.delete(pid)
    this.gone.add({ ...entry, ended: true }, entry.seenAtMs)
  }
}

/** The kernel tells a start in whole seconds, by a clock that may have been set since. */
const startSlackMs = 2_500

/** Ids are given anew. */
function isOf({ startedAtS }: ProcessEnd, { startedAtMs }: ProcessEntry): boolean {
  return Math.abs(startedAtS * 1000 - startedAtMs) < startSlackMs
}

function withEnd(entry: ProcessEntry, end: ProcessEnd, nowMs: number): ProcessEntry {
  return {
    ...entry,
    ended: true,
    end,
    seenAtMs: Math.min(nowMs, entry.startedAtMs + end.durationMs),
    cpuMs: end.cpuMs,
    peakRssBytes: end.peakRssBytes,
  }
}

/** It came and went between two looks: its arguments and its folder are not known. It ended a moment before it was told of. */
function unseen(end: ProcessEnd, nowMs: number): ProcessEntry {
  const { pid, parentPid, name, startedAtS, durationMs, cpuMs, peakRssBytes } = end
  const latestMs = startedAtS * 1000 + 999
  const startedAtMs = Math.max(startedAtS * 1000, Math.min(latestMs, Math.round(nowMs - durationMs)))
  return {
    pid,
    parentPid,
    startTicks: 0,
    startedAtMs,
    seenAtMs: Math.min(nowMs, startedAtMs + durationMs),
    ended: true,
    name,
    command: unnamed(name),
    cwd: '',
    state: 'X',
    threads: 1,
    cpuMs,
    rssBytes: peakRssBytes,
    peakRssBytes,
    end,
    marks: [],
  }
}

function marked(marks: ProcessEntry['marks'], atMs: number, bytes: number): ProcessEntry['marks'] {
  const last = marks.at(-1)
  if (last && atMs - last.atMs < markMs) return marks
  return [...marks.filter((mark) => atMs - mark.atMs <= markedMs), { atMs, bytes }]
}

/** How much larger it is than a minute ago; of a younger one, all that it has. */
export function grownBy({ startedAtMs, seenAtMs, marks, rssBytes }: ProcessEntry): number {
  const [oldest] = marks
  return oldest && seenAtMs - startedAtMs >= markedMs ? rssBytes - oldest.bytes : rssBytes
}

type Stat = Pick<ProcessEntry, 'parentPid' | 'startTicks' | 'name' | 'state' | 'threads' | 'cpuMs' | 'rssBytes'>

/** Undefined of a process that is gone or a zombie. */
export function statOf(pid: number): Stat | undefined {
  const text = readOnce(`/proc/${pid}/stat`)
  // The name stands in brackets and may hold brackets, spaces and newlines.
  const from = text.indexOf('(')
  const to = text.lastIndexOf(')')
  if (from < 0 || to < from) return undefined
  const fields = text.slice(to + 2).split(' ')
  const number = (field: number): number => Number(fields[field - 3]) || 0
  const state = fields[0] ?? 'X'
  if (state === 'Z' || state === 'X') return undefined
  return {
    name: Buffer.from(text.slice(from + 1, to), 'latin1').toString(),
    state,
    parentPid: number(4),
    cpuMs: (number(14) + number(15)) * tickMs,
    threads: number(20),
    startTicks: number(22),
    rssBytes: number(24) * pageBytes,
  }
}

function commandOf(pid: number, name: string): string {
  const text = Buffer.from(readOnce(`/proc/${pid}/cmdline`).slice(0, commandChars * 4), 'latin1').toString()
  const command = text.replaceAll('\0', ' ').trim().slice(0, commandChars)
  return command === '' ? unnamed(name) : command
}

/** What stands for the command of a process whose arguments are not known. */
const unnamed = (name: string): string => `[${name}]`

/** Its start on this host's clock, which may have been set since the boot. */
function startMs(startTicks: number, nowMs: number): number {
  const upMs = Number(readOnce('/proc/uptime').split(' ', 1)[0]) * 1000
  return Math.round(nowMs - upMs + startTicks * tickMs)
}

/** Where it works, as it names it itself; empty where that can't be read. */
export function folderOf(pid: number): string {
  return linkOf(`/proc/${pid}/cwd`)
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

const maxOpenFiles = 20

/** Names of what it has open, sockets, pipes and devices apart, and how many it has open in all. */
export function openFilesOf(pid: number): { count: number; paths: string[] } {
  try {
    const fds = readdirSync(`/proc/${pid}/fd`)
    const paths = fds.slice(0, 256).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`))
    const files = [...new Set(paths)].filter((path) => path.startsWith('/') && !path.startsWith('/dev/'))
    return { count: fds.length, paths: files.slice(0, maxOpenFiles).map((path) => path.slice(0, 300)) }
  } catch {
    return { count: 0, paths: [] }
  }
}

/** What it has read from disk and written to it so far; undefined where that can't be read. */
export function ioOf(pid: number): { readBytes: number; writtenBytes: number } | undefined {
  const text = readOnce(`/proc/${pid}/io`)
  const bytes = (name: string): number => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
  return text === '' ? undefined : { readBytes: bytes('read_bytes'), writtenBytes: bytes('write_bytes') }
}

/** Where in the kernel it waits, by the kernel's own name of the place; empty where it runs or nothing is told. */
export function waitPlaceOf(pid: number): string {
  try {
    const place = readFileSync(`/proc/${pid}/wchan`, 'latin1')
    return place === '0' ? '' : place
  } catch {
    return ''
  }
}
