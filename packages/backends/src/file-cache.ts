import { randomBytes } from 'node:crypto'
import type { Stats } from 'node:fs'
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'

export interface FileCache {
  /** The file's path, or undefined. It stays for at least `keepMs`, so that the caller can open or mount it. */
  get(name: string): Promise<string | undefined>
  /** The file's path; one that isn't there is made by `make` at the path that it is given. Callers at the same time share one making. */
  fill(name: string, make: (path: string) => Promise<void>): Promise<string>
  /** Takes a file of the same file system over. */
  add(name: string, file: string): Promise<void>
  remove(name: string): Promise<void>
}

export interface FileCacheOptions {
  directory: string
  maxBytes: number
  /** What was used this short a time ago is kept, even past the bound. */
  keepMs?: number
}

interface Entry {
  sizeBytes: number
  usedMs: number
}

/** Files that can be had again, in one folder, up to a number of bytes; those that were not used for longest go first. */
export async function openFileCache({ directory, maxBytes, keepMs = 60_000 }: FileCacheOptions): Promise<FileCache> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  // In the order of use, the longest unused first.
  const entries = new Map<string, Entry>()
  const making = new Map<string, Promise<string>>()
  const found: [string, Entry][] = []
  for (const name of await readdir(directory)) {
    const path = join(directory, name)
    const { size, atimeMs, mtimeMs } = await stat(path)
    if (name.startsWith('.')) await rm(path, { recursive: true })
    else found.push([name, { sizeBytes: size, usedMs: Math.max(atimeMs, mtimeMs) }])
  }
  for (const [name, entry] of found.toSorted(([, a], [, b]) => a.usedMs - b.usedMs)) entries.set(name, entry)

  async function evict(): Promise<void> {
    let bytes = 0
    for (const { sizeBytes } of entries.values()) bytes += sizeBytes
    for (const [name, { sizeBytes, usedMs }] of entries) {
      if (bytes <= maxBytes || Date.now() - usedMs < keepMs) return
      entries.delete(name)
      bytes -= sizeBytes
      await rm(join(directory, name), { force: true })
    }
  }

  async function add(name: string, file: string): Promise<void> {
    const path = join(directory, name)
    await rename(file, path)
    const { size } = await markUsed(path)
    entries.delete(name)
    entries.set(name, { sizeBytes: size, usedMs: Date.now() })
    await evict()
  }

  async function get(name: string): Promise<string | undefined> {
    const entry = entries.get(name)
    if (!entry) return undefined
    entries.delete(name)
    entries.set(name, { ...entry, usedMs: Date.now() })
    const path = join(directory, name)
    try {
      await markUsed(path)
      return path
    } catch {
      entries.delete(name)
      return undefined
    }
  }

  async function made(name: string, make: (path: string) => Promise<void>): Promise<string> {
    const temporary = join(directory, `.${randomBytes(8).toString('hex')}`)
    try {
      await make(temporary)
      await add(name, temporary)
      return join(directory, name)
    } finally {
      await rm(temporary, { force: true })
    }
  }

  return {
    get,
    add,
    async fill(name, make) {
      const found = await get(name)
      if (found) return found
      let work = making.get(name)
      if (!work) {
        work = made(name, make).finally(() => making.delete(name))
        making.set(name, work)
      }
      return work
    },
    async remove(name) {
      entries.delete(name)
      await rm(join(directory, name), { force: true })
    },
  }
}

/**
 * The order of use is there after a restart, by the times of access. When a file was written stays as it is, in whole
 * milliseconds: by that others tell that it is the same one.
 */
async function markUsed(path: string): Promise<Stats> {
  const status = await stat(path)
  await utimes(path, new Date(), new Date(Math.round(status.mtimeMs)))
  return status
}
