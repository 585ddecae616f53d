import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { walkFolder } from '../../transfer/local-tree.js'
import type { Noted } from './plan.js'

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

/** Notes a folder that is being sent, so that pulling can tell later what was changed in it meanwhile. */
export async function noteSent(sessionId: string, folder: string): Promise<void> {
  const root = resolve(folder)
  const record: FolderRecord = { folder: root, files: {} }
  for await (const { name, info } of walkFolder(root, { gitignore: true }))
    if (!info.isDirectory()) record.files[name] = { sizeBytes: info.size, mtimeMs: info.mtimeMs }
  await writeRecord(sessionId, record)
}
