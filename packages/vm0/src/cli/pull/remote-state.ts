import { lstat, readlink } from 'node:fs/promises'
import type { Stats } from 'node:fs'
import { dirname, join } from 'node:path'
import { Vm0Error, type FolderEntry } from '@vm0/contract/client'
import { staysInside } from '../../transfer/entry-path.js'
import type { ScannedEntry } from '../../transfer/sync/listing.js'
import { digestOfFile } from '../../transfer/sync/scan-folder.js'
import type { FolderRecord } from '../folder/folder-record.js'
import type { LocalState } from './plan.js'

export interface Skipped {
  path: string
  reason: string
}

/** What the session has, without links that lead out of the folder: those are never made here. */
export function withoutOutsideLinks(entries: Iterable<FolderEntry>): { kept: FolderEntry[]; skipped: Skipped[] } {
  const kept: FolderEntry[] = []
  const skipped: Skipped[] = []
  for (const entry of entries) {
    const { path, kind, content } = entry
    if (kind !== 'link' || staysInside(content, path.split('/').length - 1)) kept.push(entry)
    else skipped.push({ path, reason: `it is a link that leads out of the folder, to ${content}` })
  }
  return { kept, skipped }
}

/** An honest session tells the folder of everything that it tells: without it, a link here could stand in that place. */
export function requireFolders(entries: readonly Pick<FolderEntry, 'path' | 'kind'>[]): void {
  const folders = new Set(entries.filter(({ kind }) => kind === 'folder').map(({ path }) => path))
  for (const { path } of entries) {
    const folder = dirname(path)
    if (folder !== '.' && !folders.has(folder))
      throw new Vm0Error('FILE_INVALID', `the session tells of ${path}, but not of the folder ${folder}`, {
        hint: 'Something changed while it was looked at: try again.',
      })
  }
}

/** What is here at a name, beside what the session has there. */
export function statesOf(
  folder: string,
  remote: ReadonlyMap<string, FolderEntry>,
  scanned: ReadonlyMap<string, ScannedEntry>,
  known: FolderRecord['files'],
): (name: string) => Promise<LocalState | undefined> {
  const realFolders = new Map<string, Promise<boolean>>()
  /** Through a link in the way lies another place, which is none of ours. */
  const isReal = (name: string): Promise<boolean> => {
    if (name === '.') return Promise.resolve(true)
    let answer = realFolders.get(name)
    if (!answer) {
      answer = isReal(dirname(name)).then(
        async (parent) => parent && ((await look(join(folder, name)))?.isDirectory() ?? false),
      )
      realFolders.set(name, answer)
    }
    return answer
  }
  return async (name) => {
    const info = (await isReal(dirname(name))) ? await look(join(folder, name)) : undefined
    if (!info) return undefined
    const there = remote.get(name)
    const noted = known[name]
    return {
      kind: kindOf(info),
      same: there !== undefined && (await isSame(there, join(folder, name), info, scanned.get(name))),
      untouched: noted !== undefined && noted.sizeBytes === info.size && noted.mtimeMs === info.mtimeMs,
    }
  }
}

export const look = (path: string): Promise<Stats | undefined> => lstat(path).catch(() => undefined)

export function kindOf(info: Stats): LocalState['kind'] {
  return info.isDirectory() ? 'folder' : info.isFile() ? 'file' : info.isSymbolicLink() ? 'link' : 'other'
}

async function isSame(there: FolderEntry, path: string, info: Stats, scanned?: ScannedEntry): Promise<boolean> {
  const kind = kindOf(info)
  if (kind !== there.kind) return false
  if (kind === 'folder') return true
  if (kind === 'link') return (await readlink(path)) === there.content
  if (info.size !== there.sizeBytes || (info.mode & 0o777) !== there.mode) return false
  return (scanned?.content ?? (await digestOfFile({ path, info }))) === there.content
}
