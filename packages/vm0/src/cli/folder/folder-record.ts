import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { ScannedEntry } from '../../transfer/sync/listing.js'
import { scanFolder } from '../../transfer/sync/scan-folder.js'

/** How a file was when it was sent or pulled: a change of size or time tells that it was changed here since. */
export interface Noted {
  sizeBytes: number
  mtimeMs: number
  /** The sha256 of its content in hex, or where the link leads: what the session had then, too. Absent in older notes. */
  content?: string
}

/** Which local folder a session's workspace came from or was pulled into, and how its files were then. */
export interface FolderRecord {
  folder: string
  files: Record<string, Noted>
}

const pathOf = (sessionId: string): string =>
  join(process.env.XDG_STATE_HOME || join(homedir(), '.local/state'), 'vm0', 'folders', `${sessionId}.json`)

export async function readRecord(sessionId: string): Promise<FolderRecord | undefined> {
  try {
    return JSON.parse(await readFile(pathOf(sessionId), 'utf8')) as FolderRecord
  } catch {
    return undefined // none, or one that was written half: nothing is known then
  }
}

export async function writeRecord(sessionId: string, record: FolderRecord): Promise<void> {
  const path = pathOf(sessionId)
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 })
  await rename(`${path}.new`, path)
}

export const noteOf = ({ local: { info }, content }: ScannedEntry): Noted => ({
  sizeBytes: info.size,
  mtimeMs: info.mtimeMs,
  content,
})

/** Notes a folder that is being sent, so that it can be told later what was changed in it meanwhile. */
export async function noteSent(sessionId: string, folder: string): Promise<void> {
  const root = resolve(folder)
  const { listing, keep } = await scanFolder(root, { gitignore: true, specials: 'skip' })
  await keep()
  const files = [...listing]
    .filter(({ kind }) => kind !== 'folder')
    .map((entry) => [entry.path, noteOf(entry)] as const)
  await writeRecord(sessionId, { folder: root, files: Object.fromEntries(files) })
}
