import { sql } from 'kysely'
import type { Database } from './database.js'

/** A template's image of a project. */
export interface TemplateReference {
  projectId: string
  digest: string
}

/** What keeps a template's image from being removed. */
export interface TemplateUse {
  sessionId: string
  /** The session stands on it; otherwise one of its checkpoints does, which it can go back to. */
  isHead: boolean
}

/** Every template that has a name, or that an open session begins with, as one statement sees it. Checkpoints name theirs themselves. */
export async function referencedTemplates(db: Database['db']): Promise<TemplateReference[]> {
  const { rows } = await sql<TemplateReference>`
    select project_id as "projectId", digest from template_versions
    union
    select project_id, template from sessions where state = 'open'`.execute(db)
  return rows
}

/** Open sessions that a template's image is needed for: they stand on it, or have a checkpoint, or were forked from one, that does. */
export async function templateUses(
  db: Database['db'],
  { projectId, digest }: TemplateReference,
): Promise<TemplateUse[]> {
  const { rows } = await sql<TemplateUse>`
    select id as "sessionId", template = ${digest} as "isHead" from sessions s
      where project_id = ${projectId} and state = 'open' and (
        template = ${digest} or exists (
          select from checkpoints c where c.project_id = s.project_id and c.template = ${digest}
            and (c.session_id = s.id or c.id = s.origin)
        )
      )
      order by position desc`.execute(db)
  return rows
}
