import type { EventOf, Report, RunView } from '@vm0/contract'
import type { RunRecord } from '../record/run-record.js'

/** The trigger whose report a reason rests on; the others only where nothing better is there. */
const triggers: Record<string, Report['trigger']> = {
  out_of_memory: 'out_of_memory',
  agent_hung: 'agent_silent',
  agent_crashed: 'agent_ended',
}

/** What was recorded of the sandbox at that what the run ended of; of one that went well, when its memory was used up. */
export function reportOf(
  { memory, reports }: RunRecord,
  { state, reason }: Pick<RunView, 'state' | 'reason'>,
): Report | null {
  const all = [...memory.map(ofMemory), ...reports.map(ofReport)]
  const wanted = triggers[reason ?? '']
  const told = all.findLast(({ trigger }) => trigger === wanted)
  if (told) return told
  const rest = state === 'succeeded' ? all.filter(({ trigger }) => trigger === 'out_of_memory') : all
  return rest.toSorted((a, b) => a.time.localeCompare(b.time)).at(-1) ?? null
}

function ofMemory({ cursor, time, action, blamed, scene, uncommitted }: EventOf<'sandbox.out_of_memory'>): Report {
  return { cursor, time, trigger: 'out_of_memory', action, blamed, scene, waiting: [], unanswered: [], uncommitted }
}

function ofReport({
  cursor,
  time,
  trigger,
  scene,
  waiting,
  unanswered,
  uncommitted,
}: EventOf<'sandbox.report'>): Report {
  return {
    cursor,
    time,
    trigger,
    action: null,
    blamed: null,
    scene,
    waiting: waiting ?? [],
    unanswered: unanswered ?? [],
    uncommitted,
  }
}
