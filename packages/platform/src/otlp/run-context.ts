import type { Database, EventScope, SecretsPort } from '@vm0/backends'
import { noTimings, traceOfRun, type CreateRunParsed, type RunView, type Timings } from '@vm0/contract'
import { redactor, secretValues } from '@vm0/insight'

/** What an export of a run needs to know beside its events. */
export interface ExportContext {
  /** What its project lets out. */
  capture: string
  run: Pick<RunView, 'id' | 'sessionId' | 'framework' | 'timings' | 'createdAt'>
  prompt: string | undefined
  traceparent: string | undefined
  traceId: string
  redact(text: string): string
}

const keptMs = 5_000
const maxKept = 500

/** Reads contexts, and keeps each for some seconds. */
export class ExportContexts {
  private readonly kept = new Map<string, { context: Promise<ExportContext | undefined>; untilMs: number }>()

  constructor(
    private readonly database: Database,
    private readonly secrets: SecretsPort,
  ) {}

  /** Undefined of a run that is not there any more. */
  of(scope: EventScope): Promise<ExportContext | undefined> {
    const key = `${scope.projectId}/${scope.runId}`
    const kept = this.kept.get(key)
    if (kept && kept.untilMs > performance.now()) return kept.context
    const context = this.read(scope)
    this.kept.delete(key)
    this.kept.set(key, { context, untilMs: performance.now() + keptMs })
    const [oldest] = this.kept.keys()
    if (this.kept.size > maxKept && oldest !== undefined) this.kept.delete(oldest)
    return context
  }

  /** As it is now: timings are written with the end of a run. */
  async read({ projectId, runId }: EventScope): Promise<ExportContext | undefined> {
    const row = await this.database.db
      .selectFrom('runs')
      .innerJoin('projects', 'projects.id', 'runs.project_id')
      .select(['runs.id', 'session_id', 'framework', 'timings', 'runs.created_at', 'spec', 'capture'])
      .where('runs.project_id', '=', projectId)
      .where('runs.id', '=', runId)
      .executeTakeFirst()
    if (!row) return undefined
    const sealed = Buffer.from(row.spec)
    const spec = sealed.length === 0 ? {} : (JSON.parse(this.secrets.open(sealed)) as Partial<CreateRunParsed>)
    return {
      capture: row.capture,
      run: {
        id: row.id,
        sessionId: row.session_id,
        framework: row.framework,
        timings: { ...noTimings, ...(row.timings as Partial<Timings>) },
        createdAt: new Date(row.created_at).toISOString(),
      },
      prompt: spec.prompt,
      traceparent: spec.traceparent,
      traceId: traceOfRun(row.id, spec.traceparent).traceId,
      redact: redactor(secretValues(spec)),
    }
  }
}
