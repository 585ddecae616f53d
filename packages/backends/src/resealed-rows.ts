import { sql, type RawBuilder } from 'kysely'
import type { Database } from './database.js'
import type { KeyRing } from './secrets.js'

/** Every column that holds something sealed. */
const sealedColumns = [
  { table: 'runs', column: 'spec' },
  { table: 'runs', column: 'result_text' },
  { table: 'runs', column: 'output' },
  { table: 'checkpoints', column: 'tool_calls' },
  { table: 'webhooks', column: 'target' },
] as const

const batch = 200

/** Version, key id, IV and tag: what is shorter is nothing that was sealed. */
const isSealed = (column: RawBuilder<unknown>) => sql`octet_length(${column}) >= 37`
const keyIdOf = (column: RawBuilder<unknown>) => sql<string>`encode(substring(${column} from 2 for 8), 'hex')`

/** How many values are sealed under each master key. */
export async function sealedRows({ db }: Database): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const { table, column: name } of sealedColumns) {
    const column = sql.ref(name)
    const { rows } = await sql<{ id: string; count: number | string }>`
      select ${keyIdOf(column)} as id, count(*) as count from ${sql.table(table)} where ${isSealed(column)} group by 1`.execute(
      db,
    )
    for (const { id, count } of rows) counts.set(id, (counts.get(id) ?? 0) + Number(count))
  }
  return counts
}

/** Seals under the newest key what is under another one; what can't be opened stays, and is told. */
export async function resealRows(
  { db }: Database,
  secrets: KeyRing,
  signal?: AbortSignal,
): Promise<{ resealed: number; problems: string[] }> {
  const current = secrets.keyIds()[0]
  let resealed = 0
  const problems: string[] = []
  for (const { table: tableName, column: name } of sealedColumns) {
    const [table, column] = [sql.table(tableName), sql.ref(name)]
    let after = 0
    for (;;) {
      signal?.throwIfAborted()
      const { rows } = await sql<{ project: string; id: string; position: number | string; sealed: Uint8Array }>`
        select project_id as project, id, position, ${column} as sealed from ${table}
        where ${isSealed(column)} and ${keyIdOf(column)} <> ${current} and position > ${after}
        order by position limit ${batch}`.execute(db)
      if (rows.length === 0) break
      for (const { project, id, position, sealed } of rows) {
        after = Number(position)
        const bytes = Buffer.from(sealed)
        let next: Buffer
        try {
          next = secrets.seal(secrets.open(bytes))
        } catch (error) {
          problems.push(`${name} of ${tableName}/${project}/${id}: ${(error as Error).message}`)
          continue
        }
        // What was written anew since is under the newest key.
        const { numAffectedRows } = await sql`
          update ${table} set ${column} = ${next}
          where project_id = ${project} and id = ${id} and ${column} = ${bytes}`.execute(db)
        resealed += Number(numAffectedRows ?? 0)
      }
    }
  }
  return { resealed, problems }
}
