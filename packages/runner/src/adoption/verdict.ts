import type { Stories, Story } from './story.js'

/** A session that this runner owns, as its row tells, with the run that is at work in it. */
export interface OwnedSession {
  projectId: string
  sessionId: string
  epoch: number
  run: { id: string; state: string } | undefined
}

/**
 * What becomes of a session after its runner's process has ended:
 *
 * | | |
 * |---|---|
 * | `go on` | the agent that has the prompt lives, or has ended and left its output: the run is carried on |
 * | `begin` | no agent was given the prompt: the run is lived from its start |
 * | `lost` | the agent that had the prompt is gone |
 * | `keep` | no run; its sandbox, which may hold something unsaved, stays with it |
 * | `release` | no run, no sandbox |
 */
export type Verdict =
  | { what: 'go on' | 'begin' | 'keep'; sandbox: string | undefined }
  | { what: 'lost' | 'release'; sandbox?: undefined }

/** `living`: ids of the sandboxes that were kept. */
export function verdict(
  { run, epoch, ...session }: OwnedSession,
  stories: Stories,
  living: ReadonlySet<string>,
): Verdict {
  const told = [...stories].filter((entry): entry is [string, Story] => entry[1] !== undefined)
  const own = told.filter(([, story]) => isOf(story, session))
  const alive = own
    .filter(([id, story]) => living.has(id) && story.session.epoch === epoch)
    .toSorted(([, a], [, b]) => b.session.atMs - a.session.atMs)
    .map(([id, story]) => ({ id, story }))
  const [newest] = alive
  if (!run) return newest ? { what: 'keep', sandbox: newest.id } : { what: 'release' }
  const atWork = alive.find(({ story }) => hasPrompt(story, run.id))
  if (atWork) return { what: 'go on', sandbox: atWork.id }
  // One that can't be read may tell of the prompt.
  const unsure = told.length < stories.size || own.some(([, story]) => story.prompted.has(run.id))
  return run.state === 'starting' && !unsure ? { what: 'begin', sandbox: newest?.id } : { what: 'lost' }
}

function isOf({ session }: Story, { projectId, sessionId }: Pick<OwnedSession, 'projectId' | 'sessionId'>): boolean {
  return session.projectId === projectId && session.sessionId === sessionId
}

/** The sandbox's last agent has it: one before that was replaced can't go on. */
function hasPrompt({ agent }: Story, runId: string): boolean {
  return agent?.run?.runId === runId && agent.run.promptedAtMs !== undefined
}
