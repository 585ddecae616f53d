import type { Database } from '@vm0/backends'
import { createRunSchema, Vm0Error, type Replay, type ReplayedRun, type Resources } from '@vm0/contract'
import { replayPoint } from '@vm0/insight'
import type { FastifyRequest } from 'fastify'
import { uuidv7 } from 'uuidv7'
import type { RunComparisons } from './insights.js'
import type { Principal } from './principal.js'
import type { Runs } from './runs.js'
import type { Sessions } from './sessions.js'

/** The label that leads from a replay to the run that it is of. */
const replayLabel = 'replay-of'
const goOn = 'Go on from here.'

/** A run again from one of its tool calls on, in a fork: with the same settings, but for what is to be tried. */
export class Replays {
  constructor(
    private readonly database: Database,
    private readonly runs: Runs,
    private readonly sessions: Sessions,
    private readonly comparisons: RunComparisons,
  ) {}

  async create(
    by: Principal,
    of: string,
    { id = uuidv7(), sessionId = uuidv7(), from, prompt, model, labels }: Replay,
    arrival: FastifyRequest['arrival'],
    signal: AbortSignal,
  ): Promise<ReplayedRun> {
    const run = await this.runs.get(by, of)
    const point = replayPoint(await this.comparisons.record(by, of, signal), from)
    if (!point)
      throw new Vm0Error(
        'INVALID_REQUEST',
        `run ${of} has no tool call ${JSON.stringify(from)}; expected an id, or a number`,
        {
          hint: 'See the calls of the run: `vm0 logs RUN --json | jq -r .toolId`; they may be counted from 1.',
        },
      )
    const { traceparent: _, from: __, workspaceUpload, template, ...spec } = await this.runs.spec(by.projectId, of)
    if (spec.prompt === undefined) throw new Vm0Error('SESSION_DELETED', `the session of run ${of} was deleted`)
    const begin = point.checkpoint ?? (await this.beginOf(by.projectId, of, run.sessionId))
    const session = await this.sessions.row(by.projectId, run.sessionId)
    const sent = begin ? workspaceUpload : (workspaceUpload ?? session.workspace_upload ?? undefined)
    // What was saved within the run has it already.
    const upload = point.checkpoint === null ? sent : undefined
    const body = createRunSchema.parse({
      ...spec,
      id,
      sessionId,
      newSession: true,
      ifBusy: 'queue',
      prompt: prompt ?? (point.checkpoint === null ? spec.prompt : goOn),
      ...(model === undefined ? {} : { model }),
      resources: { ...(session.resources as Resources), ...spec.resources },
      labels: { ...spec.labels, [replayLabel]: of, ...labels },
      ...(begin ? { from: begin } : { template: template ?? session.template }),
      ...(upload === undefined ? {} : { workspaceUpload: upload }),
    })
    const view = await this.runs.create(by.projectId, body, arrival)
    const { toolId, callsBetween } = point
    return { ...view, replay: { of, toolId, checkpoint: begin, callsBetween } }
  }

  /** The state that the run began with; null where it began with nothing. */
  private async beginOf(projectId: string, runId: string, sessionId: string): Promise<string | null> {
    const first = await this.database.db
      .selectFrom('checkpoints')
      .select('parent')
      .where('project_id', '=', projectId)
      .where('session_id', '=', sessionId)
      .where('run_id', '=', runId)
      .orderBy('position', 'asc')
      .limit(1)
      .executeTakeFirst()
    if (first) return first.parent
    // It has saved nothing: the session stands where it stood.
    return (await this.sessions.row(projectId, sessionId)).head
  }
}
