import type { EventLog, SecretsPort } from '@vm0/backends'
import type { Answer, RunRef, Timings } from '@vm0/contract'
import type { FrameworkDriver } from '@vm0/frameworks'
import type { MonitoredProcess } from '@vm0/sandbox'
import type { LiveAgent } from '../live-agent.js'
import type { StopReason } from '../run-endings.js'
import type { Waits } from '../waiting.js'
import type { Journal } from './journal.js'
import { replayAgent } from './replay.js'
import type { AgentStory, RunStory } from './story.js'
import { ToldEvents } from './told-events.js'

/** A run that an earlier process has begun, as its log and its sandbox's journal tell it. */
export interface AdoptedRun {
  agent: LiveAgent
  how: RunStory['how']
  timings: Partial<Timings>
  oomKills: number
  /** VM0 had begun to end it. */
  stopping: StopReason | undefined
  /** What a person said since the prompt. */
  said: string[]
  /** Of `said`, what the log doesn't have. */
  untold: string[]
  /** What the log tells of its waits for a person. */
  waits: Waits
  /** The events that the log has. */
  events: ToldEvents
  /** Model requests that the earlier process had passed on, and that nobody answers any more. */
  cutOff: { path: string; timeMs: number }[]
  /** The agent's protocol is where it was: it may be spoken to. */
  caughtUp: Promise<void>
}

/** A run whose agent and sandbox are gone. */
export interface LostRun {
  /** The conversation that was saved last has the prompt. */
  hasPrompt: boolean
  /** What a person said since the prompt. */
  said: string[]
}

export interface EarlierLife {
  adopted?: AdoptedRun
  lost?: LostRun
}

export interface AdoptRunOptions {
  ref: RunRef
  createdAtMs: number
  story: AgentStory
  run: RunStory
  driver: FrameworkDriver
  process: MonitoredProcess
  eventLog: EventLog
  secrets: SecretsPort
  journal: Journal
}

export async function adoptRun(options: AdoptRunOptions): Promise<AdoptedRun> {
  const { ref, createdAtMs, story, run, driver, process, eventLog, secrets, journal } = options
  const told = await readLog(eventLog, ref)
  const answered = answersOf(story, run, secrets)
  const said = story.calls
    .slice(run.callsBefore)
    .filter(({ method }) => method === 'input')
    .map(({ args }) => (JSON.parse(secrets.open(Buffer.from(args, 'base64'))) as [string])[0])
  let onCaughtUp = (): void => undefined
  const caughtUp = new Promise<void>((resolve) => (onCaughtUp = resolve))
  const since = (timeMs: number | undefined) => (timeMs === undefined ? null : Math.max(0, timeMs - createdAtMs))
  return {
    agent: replayAgent({ driver, process, story, run, secrets, journal, onCaughtUp: () => onCaughtUp() }),
    how: run.how,
    timings: {
      queuedMs: run.queuedMs,
      boundMs: run.boundMs,
      pool: run.pool,
      sandboxReadyMs: run.sandboxReadyMs,
      promptSentMs: since(run.promptedAtMs),
      firstModelRequestMs: since(told.firstRequestMs),
    },
    oomKills: run.oomKills,
    stopping: run.stop,
    said,
    untold: said.slice(told.inputs),
    waits: { ...told.waits, answered, open: [...told.questions].filter((id) => !answered.has(id)) },
    events: told.events,
    cutOff: told.open,
    caughtUp,
  }
}

/** `hasPrompt`: whether the session was saved in this run since. */
export async function lostRun(eventLog: EventLog, ref: RunRef, hasPrompt: boolean): Promise<LostRun> {
  const said: string[] = []
  for await (const { event } of eventLog.stored(ref)) if (event.type === 'input.sent') said.push(event.text)
  return { hasPrompt, said }
}

async function readLog(eventLog: EventLog, ref: RunRef) {
  const told = {
    events: new ToldEvents(),
    inputs: 0,
    firstRequestMs: undefined as number | undefined,
    open: [] as { path: string; timeMs: number }[],
    waits: { isWaiting: false, ms: 0 },
    questions: new Set<string>(),
  }
  let waitsSinceMs = 0
  for await (const { event, origin } of eventLog.stored(ref)) {
    if (origin !== undefined) told.events.add(origin)
    if (event.type === 'input.sent') told.inputs += 1
    if (event.type === 'permission.requested') told.questions.add(event.requestId)
    if (event.type === 'permission.resolved' && event.requestId) told.questions.delete(event.requestId)
    if (event.type === 'run.state') {
      const isWaiting = event.state === 'waiting'
      if (told.waits.isWaiting && !isWaiting) told.waits.ms += Date.parse(event.time) - waitsSinceMs
      if (isWaiting) waitsSinceMs = Date.parse(event.time)
      told.waits.isWaiting = isWaiting
    }
    if (event.type === 'model.request') {
      const timeMs = Date.parse(event.time)
      if (event.first) told.firstRequestMs ??= timeMs
      told.open.push({ path: event.path, timeMs })
    }
    if (event.type === 'model.response') {
      const index = told.open.findIndex(({ path }) => path === event.path)
      if (index >= 0) told.open.splice(index, 1)
    }
  }
  if (told.waits.isWaiting) told.waits.ms += Date.now() - waitsSinceMs
  return told
}

/** The questions of the run that a person has answered. */
function answersOf({ calls }: AgentStory, run: RunStory, secrets: SecretsPort): ReadonlySet<string> {
  const answers = calls.slice(run.callsBefore).filter(({ method }) => method === 'answer')
  return new Set(
    answers.map(({ args }) => (JSON.parse(secrets.open(Buffer.from(args, 'base64'))) as [Answer])[0].requestId),
  )
}
