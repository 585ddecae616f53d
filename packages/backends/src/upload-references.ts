import { sql } from 'kysely'
import type { Database } from './database.js'

export interface UploadReference {
  projectId: string
  digest: string
}

/** Whether the upload is there; if so it is kept for the grace time from now on: whoever was told so may name it. */
export async function pinUpload(db: Database['db'], { projectId, digest }: UploadReference): Promise<boolean> {
  const row = await db
    .updateTable('uploads')
    .set({ created_at: sql<Date>`now()` })
    .where('project_id', '=', projectId)
    .where('digest', '=', digest)
    .returning('digest')
    .executeTakeFirst()
  return row !== undefined
}

/** Removes the rows of uploads that were last named before the grace time, and that no session has still to unpack, nor `inUse` names. */
export async function forgetUploads(db: Database['db'], graceMs: number, inUse: UploadReference[]): Promise<void> {
  const used = JSON.stringify(inUse)
  await sql`
    delete from uploads u
      where u.created_at < now() - ${graceMs}::float8 * interval '1 millisecond'
      and not exists (
        select from sessions s
          where s.project_id = u.project_id and s.workspace_upload = u.digest and s.state = 'open' and s.head is null
      )
      and not exists (
        select from jsonb_to_recordset(${used}::jsonb) as r("projectId" text, digest text)
          where r."projectId" = u.project_id and r.digest = u.digest
      )`.execute(db)
}
