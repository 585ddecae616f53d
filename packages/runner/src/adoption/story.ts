import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { journalEntrySchema, type JournalEntry } from '@vm0/contract'
import { journalFile } from './journal.js'
import type { JournaledCall } from './journaled-agent.js'

type Entry<T extends JournalEntry['t']> = Extract<JournalEntry, { t: T }>

/** What a sandbox's journal tells, as far as it matters to whoever takes the sandbox over. */
export interface Story {
  session: Pick<Entry<'session'>, 'projectId' | 'sessionId' | 'base' | 'epoch' | 'atMs'>
  /** The last agent that was started in it. */
  agent: AgentStory | undefined
  /** Runs whose prompt may have reached an agent of this sandbox. */
  prompted: ReadonlySet<string>
}

export interface AgentStory extends Omit<Entry<'agent'>, 't'> {
  calls: readonly JournaledCall[]
  sent: ReadonlySet<string>
  /** The run that the agent was given last. */
  run: RunStory | undefined
}

export interface RunStory extends Omit<Entry<'run'>, 't'> {
  /** Number of the calls that came before it. */
  callsBefore: number
  /** When its prompt was handed over, in milliseconds since 1970; undefined: it was not. */
  promptedAtMs: number | undefined
  stop: Entry<'stop'>['why'] | undefined
  oomKills: number
}

/** Undefined where the journal begins with no session, or with that of another release. */
export function tell(entries: readonly JournalEntry[]): Story | undefined {
  const [session, ...rest] = entries
  if (session?.t !== 'session') return undefined
  const prompted = new Set<string>()
  let agent: (AgentStory & { calls: JournaledCall[]; sent: Set<string> }) | undefined
  for (const entry of rest) {
    if (entry.t === 'agent') {
      const { t: _, ...told } = entry
      agent = { ...told, calls: [], sent: new Set(), run: undefined }
    }
    if (!agent) continue
    if (entry.t === 'bound') agent.spec = entry.spec
    if (entry.t === 'sent') agent.sent.add(entry.line)
    if (entry.t === 'stop' && agent.run) agent.run.stop = entry.why
    if (entry.t === 'kills' && agent.run) agent.run.oomKills = entry.oomKills
    if (entry.t === 'run') {
      const { t: _, ...told } = entry
      agent.run = { ...told, callsBefore: agent.calls.length, promptedAtMs: undefined, stop: undefined, oomKills: 0 }
    }
    if (entry.t === 'call') {
      agent.calls.push(entry)
      if (entry.method !== 'prompt' || !agent.run) continue
      agent.run.promptedAtMs ??= entry.atMs
      prompted.add(agent.run.runId)
    }
  }
  const { projectId, sessionId, base, epoch, atMs } = session
  return { session: { projectId, sessionId, base, epoch, atMs }, agent, prompted }
}

/** The stories of all sandboxes whose records lie in a folder, living or not; undefined of one that can't be read. */
export type Stories = ReadonlyMap<string, Story | undefined>

export async function readStories(folder: string): Promise<Stories> {
  const stories = new Map<string, Story | undefined>()
  for (const id of await readdir(folder).catch(() => [])) {
    const text = await readFile(journalFile(join(folder, id)), 'utf8').catch(() => '')
    // What follows the last newline was being written.
    const lines = text.split('\n').slice(0, -1)
    if (lines.length > 0) stories.set(id, read(lines))
  }
  return stories
}

function read(lines: readonly string[]): Story | undefined {
  try {
    return tell(lines.map((line) => journalEntrySchema.parse(JSON.parse(line))))
  } catch {
    return undefined
  }
}
