import type { Database } from '@vm0/backends'
import { sql } from 'kysely'

/**
 * What a checkpoint is compared with when nothing else is said: the one before it; of one that a run ended with, the one
 * from before the run, whatever was saved within it. Null where it began with nothing but its template.
 */
export async function stateBefore(projectId: string, id: string, db: Database['db']): Promise<string | null> {
  const { rows } = await sql<{ parent: string | null }>`
    with recursive line as (
      select parent, project_id, run_id, cause = 'run' as of_run, 0 as steps from checkpoints
      where project_id = ${projectId} and id = ${id}
      union all
      select earlier.parent, earlier.project_id, earlier.run_id, true, line.steps + 1 from checkpoints earlier
      join line on line.of_run and earlier.project_id = line.project_id and earlier.id = line.parent
        and earlier.run_id = line.run_id
    )
    select parent from line order by steps desc limit 1`.execute(db)
  return rows[0]?.parent ?? null
}
