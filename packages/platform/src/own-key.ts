import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeDurable } from '@vm0/backends'
import { allows, type Keys, type Projects } from '@vm0/server'

/** The key of this user's commands; made anew where the database doesn't know it, or as one that may do less. */
export async function ownKey({ keys, projects }: { keys: Keys; projects: Projects }, dataDir: string): Promise<string> {
  const path = join(dataDir, 'keys', 'local')
  const found = (await readFile(path, 'utf8').catch(() => '')).trim()
  const principal = found ? await keys.authenticate(found) : undefined
  if (principal && allows(principal.scopes, 'installation')) return found
  await projects.create({ id: 'default' })
  const { key = '' } = await keys.createFirst('default', 'local')
  await writeDurable(path, `${key}\n`)
  return key
}
