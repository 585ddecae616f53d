import type { Span, Trace } from '@vm0/contract'

interface Lane {
  id: number
  group: string
  freeFromMs: number
}

const groups: Record<Span['kind'], string> = {
  run: 'run',
  queue: 'start',
  start: 'start',
  turn: 'turns',
  model: 'model',
  tool: 'tools',
  process: 'processes',
  subagent: 'sub-agents',
  permission: 'permissions',
  compaction: 'agent',
  hook: 'agent',
  checkpoint: 'checkpoints',
}

/** A trace in the form of Chrome's tracing, which ui.perfetto.dev opens: a lane each for what happens at the same time. */
export function perfettoOf({ runId, spans, durationMs, memory }: Trace): object {
  const lanes: Lane[] = []
  const slices = spans
    .toSorted((a, b) => a.startMs - b.startMs)
    .map((span) => {
      const endMs = span.durationMs === null ? Math.max(durationMs, span.startMs) : span.startMs + span.durationMs
      return {
        ph: 'X',
        name: span.name,
        cat: span.kind,
        pid: 1,
        tid: laneOf(groups[span.kind], span.startMs, endMs, lanes),
        ts: Math.round(span.startMs * 1000),
        dur: Math.round((endMs - span.startMs) * 1000),
        args: { ...span.attributes, status: span.status },
      }
    })
  const names = [
    { ph: 'M', name: 'process_name', pid: 1, tid: 0, args: { name: `run ${runId}` } },
    ...lanes.map(({ id, group }) => ({ ph: 'M', name: 'thread_name', pid: 1, tid: id, args: { name: group } })),
  ]
  const counters = (memory?.points ?? []).map(({ atMs, bytes }) => ({
    ph: 'C',
    name: 'memory of the sandbox',
    pid: 1,
    ts: Math.round(atMs * 1000),
    args: { bytes },
  }))
  return { displayTimeUnit: 'ms', traceEvents: [...names, ...slices, ...counters] }
}

function laneOf(group: string, startMs: number, endMs: number, lanes: Lane[]): number {
  let lane = lanes.find((each) => each.group === group && each.freeFromMs <= startMs)
  if (!lane) {
    lane = { id: lanes.length + 1, group, freeFromMs: 0 }
    lanes.push(lane)
  }
  lane.freeFromMs = endMs
  return lane.id
}
