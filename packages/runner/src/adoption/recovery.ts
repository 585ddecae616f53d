import { Vm0Error, type ClaimedRun, type CreateRunParsed, type RunRef } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import type { LiveSession } from '../live-session.js'
import type { LiveSessions } from '../live-sessions.js'
import type { RunnerOptions } from '../options.js'
import { mayResume } from '../resumption.js'
import { adoptRun, lostRun, type EarlierLife } from './adopted-run.js'
import type { OwnedRow, OwnedRows } from './owned-rows.js'
import type { Stories } from './story.js'
import { verdict, type Verdict } from './verdict.js'

/** A run to be lived by this process: carried on where it was adopted, from its start otherwise. */
export interface RecoveredRun {
  ref: RunRef
  claimed: ClaimedRun
  session: LiveSession
  before: EarlierLife
}

export interface Recovered {
  runs: RecoveredRun[]
  /** Those that ended as `died`. */
  lost: RunRef[]
}

/** What the start of a runner makes of what its last process has left. */
export class Recovery {
  private readonly sandboxes: Map<string, Sandbox>

  constructor(
    private readonly options: RunnerOptions,
    private readonly rows: OwnedRows,
    private readonly sessions: LiveSessions,
    private readonly stories: Stories,
  ) {
    this.sandboxes = new Map(options.engine.adopted.map((sandbox) => [sandbox.id, sandbox]))
  }

  async recover(): Promise<Recovered> {
    const living = new Set(this.sandboxes.keys())
    const decided = (await this.rows.read()).map((row) => ({ row, is: verdict(row, this.stories, living) }))
    const kept: OwnedRow[] = []
    const runs: RecoveredRun[] = []
    for (const { row, is } of decided) {
      try {
        const run = await this.carryOut(row, is)
        if (run === 'not kept') continue
        if (run) runs.push(run)
        kept.push(row)
      } catch (error) {
        this.options.logger.warn({ sessionId: row.sessionId, error }, 'a sandbox could not be taken over')
        const run = row.run && (await this.takeUp(row).catch(() => undefined))
        if (!run) continue
        runs.push(run)
        kept.push(row)
      }
    }
    const lost = await this.rows.release(kept)
    await Promise.all([...this.sandboxes.values()].map((sandbox) => sandbox.close()))
    return { runs, lost }
  }

  private async carryOut(row: OwnedRow, is: Verdict): Promise<RecoveredRun | undefined | 'not kept'> {
    if (is.what === 'release') return 'not kept'
    if (is.what === 'lost') return (await this.takeUp(row)) ?? 'not kept'
    const found = is.sandbox === undefined ? undefined : await this.take(row, is.sandbox, is.what === 'go on')
    if (found) this.sessions.adopt(found.session)
    if (is.what === 'keep') return undefined
    const { adopted } = found ?? {}
    return this.runOf(row, adopted ? { adopted } : {})
  }

  /** A run that was lost goes on from the session's head, where its policy says so. */
  private async takeUp(row: OwnedRow): Promise<RecoveredRun | undefined> {
    const { secrets, eventLog, checkpoints } = this.options
    const { spec, attempts: attempt } = row.claimed as ClaimedRun
    const { onLoss } = JSON.parse(secrets.open(spec)) as CreateRunParsed
    if (!mayResume('host_lost', { attempt, onLoss })) return undefined
    const ref = refOf(row)
    const { head } = row.state
    const manifest = head === null ? undefined : await checkpoints.load(head)
    return this.runOf(row, { lost: await lostRun(eventLog, ref, manifest?.runId === ref.runId) })
  }

  private async runOf(row: OwnedRow, before: EarlierLife): Promise<RecoveredRun> {
    const ref = refOf(row)
    const session = await this.sessions.use(ref)
    const { adopted, lost } = before
    const how = adopted ? 'in its sandbox' : lost ? 'from what was saved' : 'from its start'
    this.options.logger.info({ ...ref }, `the platform was started anew: the run goes on ${how}`)
    if (adopted || lost) await this.rows.markRunning(row, ref.runId, adopted?.agent.version ?? null)
    return { ref, claimed: row.claimed as ClaimedRun, session, before }
  }

  /** The session in its sandbox. An agent that nobody waits for is ended: the next run starts one with the conversation. */
  private async take(row: OwnedRow, id: string, goesOn: boolean) {
    const story = this.stories.get(id)
    const sandbox = this.sandboxes.get(id)
    if (!story || !sandbox) throw new Vm0Error('INTERNAL', `the sandbox ${id} was decided on and is not there`)
    const process = story.agent && (await sandbox.attach(story.agent.process))
    if (goesOn && !process) throw new Vm0Error('HOST_LOST', "the record of the agent's process is not there")
    const session = this.sessions.make(row)
    const journal = await session.adopt(sandbox, story.session.base, row.state)
    // From here on the session closes it, in whichever way.
    this.sandboxes.delete(id)
    if (!goesOn || !story.agent?.run || !process) {
      await process?.kill()
      return { session, adopted: undefined }
    }
    const ref = refOf(row)
    const { findDriver, eventLog, secrets } = this.options
    const adopting = adoptRun({
      ref,
      createdAtMs: (row.claimed as ClaimedRun).createdAtMs,
      story: story.agent,
      run: story.agent.run,
      driver: findDriver(story.agent.framework),
      process,
      eventLog,
      secrets,
      journal,
    })
    adopting.catch(() => session.discard())
    const adopted = await adopting
    session.keep(adopted.agent)
    return { session, adopted }
  }
}

function refOf({ projectId, sessionId, run }: OwnedRow): RunRef {
  return { projectId, sessionId, runId: (run as { id: string }).id }
}
