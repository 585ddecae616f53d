import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeDurable } from '@vm0/backends'

/** What tells this data folder's sandboxes, networks and database from those of others on the host; made the first time. */
export async function installationId(dataDir: string): Promise<string> {
  const path = join(dataDir, 'installation')
  const found = await readFile(path, 'utf8').catch(() => undefined)
  if (found) return found.trim()
  const made = randomBytes(3).toString('hex')
  await writeDurable(path, `${made}\n`)
  return made
}
