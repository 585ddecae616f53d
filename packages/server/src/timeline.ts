import type { RunLines } from '@vm0/backends'
import { traceOfRun, type LogEntry, type RunLine, type Vm0Event } from '@vm0/contract'
import { mergeByTime, toldBy, type Timed } from '@vm0/insight'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Principal } from './principal.js'
import type { Runs } from './runs.js'

/** Of a run at work: how long an entry waits for one of the other sort that is earlier. */
const holdMs = 250
/** What is said of a run's end comes a moment after its last event. */
const afterEndMs = 300

type Part = { event: Vm0Event } | { number: number; line: RunLine }

export interface TimelineOptions {
  /** The cursor of the last entry that was told. */
  after?: string | undefined
  follow: boolean
  signal: AbortSignal
}

/** A run's events and what the platform says of it as one sequence, by time; each of the two in its own order. */
export async function* timelineOf(
  { runs, lines }: { runs: Runs; lines: RunLines },
  by: Principal,
  id: string,
  { after, follow, signal }: TimelineOptions,
): AsyncGenerator<LogEntry> {
  const { sessionId } = await runs.get(by, id)
  const { traceparent } = await runs.circumstances(by, id)
  const { traceId } = traceOfRun(id, traceparent)
  const [cursor = '0.0', number = '0'] = after?.split('-') ?? []
  const read = { event: cursor, line: Number(number) }
  const over = new AbortController()
  const ended = follow ? AbortSignal.any([over.signal, signal]) : undefined
  const events = await runs.events(by, id, { after: cursor, follow, signal })
  const told = lines.read({ projectId: by.projectId, sessionId, runId: id }, { after: read.line, ended })
  const merge = { holdMs: follow ? holdMs : 0, now: Date.now, sleep: (ms: number) => sleep(ms) as Promise<void> }
  for await (const part of mergeByTime<Part, Part>(eventParts(events, over), lineParts(told), merge)) {
    if ('event' in part) read.event = part.event.cursor
    else read.line = part.number
    const place = { cursor: `${read.event}-${read.line}`, runId: id, sessionId, traceId }
    if ('event' in part) yield { ...place, time: part.event.time, ...toldBy(part.event), event: part.event }
    else yield { ...place, ...part.line }
  }
}

async function* eventParts(events: AsyncIterable<Vm0Event>, over: AbortController): AsyncGenerator<Timed<Part>> {
  try {
    for await (const event of events) yield { timeMs: Date.parse(event.time), value: { event } }
  } finally {
    setTimeout(() => over.abort(), afterEndMs)
  }
}

async function* lineParts(lines: AsyncIterable<{ number: number; line: RunLine }>): AsyncGenerator<Timed<Part>> {
  for await (const value of lines) yield { timeMs: Date.parse(value.line.time), value }
}
