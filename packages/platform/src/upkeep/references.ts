import {
  forgetCheckpoints,
  forgetUploads,
  referencedCheckpoints,
  referencedTemplates,
  type CheckpointReference,
  type Database,
  type SecretsPort,
  type TemplateReference,
  type UploadReference,
} from '@vm0/backends'
import { documentName, type References } from '@vm0/checkpoints'
import { activeStates, type CreateRunParsed } from '@vm0/contract'

/** What the database says is in use, and by which sessions. */
export class StoreReferences implements References {
  /** Of the last look: who needs a checkpoint. */
  readonly users = new Map<string, CheckpointReference[]>()

  constructor(
    private readonly database: Database,
    private readonly secrets: SecretsPort,
  ) {}

  async *checkpoints(): AsyncGenerator<string> {
    this.users.clear()
    for (const reference of await referencedCheckpoints(this.database.db)) {
      const users = this.users.get(reference.id)
      if (users) users.push(reference)
      else this.users.set(reference.id, [reference])
    }
    yield* this.users.keys()
  }

  async *templates(): AsyncGenerator<TemplateReference> {
    yield* await referencedTemplates(this.database.db)
  }

  async *objects(): AsyncGenerator<string> {
    const versions = await this.database.db
      .selectFrom('template_versions')
      .select(['project_id as projectId', 'name', 'version'])
      .execute()
    for (const version of versions) yield documentName(version)
    const rows = await this.database.db.selectFrom('uploads').select(['project_id', 'digest']).execute()
    for (const { project_id, digest } of rows) yield `uploads/${project_id}/${digest.replace(':', '-')}`
  }

  /** Removes the rows of what nobody needs any more, so that the objects can go. */
  async forget(graceMs: number): Promise<void> {
    const { db } = this.database
    await db.transaction().execute((trx) => forgetCheckpoints(trx))
    await forgetUploads(db, graceMs, await this.uploadsOfRuns())
  }

  /** Uploads that runs have still to unpack: they are named in what was asked for, which is sealed. */
  private async uploadsOfRuns(): Promise<UploadReference[]> {
    const runs = await this.database.db
      .selectFrom('runs')
      .select(['project_id', 'spec'])
      .where('state', 'in', activeStates)
      .execute()
    return runs.flatMap(({ project_id: projectId, spec }) => {
      const { workspaceUpload } = JSON.parse(this.secrets.open(spec)) as CreateRunParsed
      return workspaceUpload ? [{ projectId, digest: workspaceUpload }] : []
    })
  }
}
