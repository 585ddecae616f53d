import type { Database, Schema } from '@vm0/backends'
import { sql, type Selectable } from 'kysely'

type Row = Selectable<Schema['checkpoints']>

/**
 * What a checkpoint is compared with when nothing else is said: the one before it; of one that a run ended with, the one
 * from before the run, whatever was saved within it. Null where it began with nothing but its template.
 */
export async function stateBefore(checkpoint: Row, db: Database['db']): Promise<string | null> {
  if (checkpoint.cause !== 'run') return checkpoint.parent
  const { rows } = await sql<{ parent: string | null }>`
    with recursive line as (
      select parent, project_id, run_id, 0 as steps from checkpoints
      where project_id = ${checkpoint.project_id} and id = ${checkpoint.id}
      union all
      select earlier.parent, earlier.project_id, earlier.run_id, line.steps + 1 from checkpoints earlier
      join line on earlier.project_id = line.project_id and earlier.id = line.parent and earlier.run_id = line.run_id
    )
    select parent from line order by steps desc limit 1`.execute(db)
  return rows[0]?.parent ?? null
}
