import type { Database } from '@vm0/backends'
import type { LayerReference } from '@vm0/checkpoints'
import type { TemplateAbout } from '@vm0/runner'

const maxKnown = 1000

/**
 * What the database tells of projects' templates by their digests. An image never changes and says itself what it gives, so
 * what was read once holds; only a name is looked up again when it was not there.
 */
export class TemplateRows {
  private readonly known = new Map<string, { layer: LayerReference; about: TemplateAbout }>()

  constructor(
    private readonly database: Database,
    /** Digest of the built-in template, which has no row. */
    private readonly standard: string,
  ) {}

  async layer(projectId: string, digest: string): Promise<LayerReference | undefined> {
    return (await this.find(projectId, digest))?.layer
  }

  async about(digest: string, projectId: string): Promise<TemplateAbout> {
    return (await this.find(projectId, digest))?.about ?? { name: null, env: {} }
  }

  private async find(projectId: string, digest: string) {
    if (digest === this.standard) return undefined
    const key = `${projectId} ${digest}`
    const known = this.known.get(key)
    if (known) return known
    const row = await this.database.db
      .selectFrom('template_versions')
      .select(['name', 'version', 'size_bytes', 'env'])
      .where('project_id', '=', projectId)
      .where('digest', '=', digest)
      .orderBy('created_at', 'desc')
      .limit(1)
      .executeTakeFirst()
    if (!row) return undefined
    const found = {
      layer: { digest, sizeBytes: Number(row.size_bytes) },
      about: { name: `${row.name}@${row.version}`, env: row.env as Record<string, string> },
    }
    if (this.known.size >= maxKnown) this.known.clear()
    this.known.set(key, found)
    return found
  }
}
