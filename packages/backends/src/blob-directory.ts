import { randomBytes } from 'node:crypto'
import { copyFile, mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { Vm0Error } from '@vm0/contract'
import { syncPath } from './durable.js'
import type { BlobPort } from './ports.js'

/** Objects as files of one folder; writes are atomic (a temporary file, fsync, rename, fsync of the folder). */
export async function openBlobDirectory(directory: string): Promise<BlobPort> {
  const incoming = join(directory, '.incoming')
  await rm(incoming, { recursive: true, force: true })
  await mkdir(incoming, { recursive: true, mode: 0o700 })

  const place = (name: string): string => {
    if (!/^[a-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*){0,3}$/.test(name))
      throw new Vm0Error(
        'INTERNAL',
        `object name ${JSON.stringify(name)}: expected letters, digits, ".", "_", "-" and "/"`,
      )
    return join(directory, name)
  }
  const has = (name: string): Promise<boolean> =>
    stat(place(name)).then(
      () => true,
      () => false,
    )
  /** Whether it exists; then it counts as written now, so that nobody who collects what is old takes it from under its new user. */
  const renew = async (name: string): Promise<boolean> => {
    try {
      await utimes(place(name), new Date(), new Date())
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return false
    }
  }
  const publish = async (temporary: string, name: string): Promise<void> => {
    await syncPath(temporary)
    const target = place(name)
    await mkdir(dirname(target), { recursive: true, mode: 0o700 })
    await rename(temporary, target)
    await syncPath(dirname(target))
    await syncPath(directory)
  }

  return {
    has,
    async putFile(name, path) {
      if (await renew(name)) return
      const temporary = join(incoming, randomBytes(8).toString('hex'))
      try {
        await rename(path, temporary).catch(async (error: NodeJS.ErrnoException) => {
          if (error.code !== 'EXDEV') throw error
          await copyFile(path, temporary)
        })
        await publish(temporary, name)
      } finally {
        await rm(temporary, { force: true })
      }
    },
    async put(name, content) {
      if (await renew(name)) return
      const temporary = join(incoming, randomBytes(8).toString('hex'))
      try {
        const file = await open(temporary, 'wx', 0o600)
        try {
          await file.writeFile(content)
        } finally {
          await file.close()
        }
        await publish(temporary, name)
      } finally {
        await rm(temporary, { force: true })
      }
    },
    get: (name) => readFile(place(name)),
    async read(name) {
      const file = await open(place(name), 'r')
      return file.createReadStream({ highWaterMark: 1024 ** 2 })
    },
    localPath: async (name) => ((await has(name)) ? place(name) : undefined),
    remove: (name) => rm(place(name), { force: true }),
    async *list(folder) {
      const root = place(folder.replace(/\/$/, ''))
      const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
        throw error
      })
      for (const entry of entries) {
        const path = join(entry.parentPath, entry.name)
        const found = entry.isFile() ? await stat(path).catch(() => undefined) : undefined
        if (found) yield { name: relative(directory, path), sizeBytes: found.size, writtenMs: found.mtimeMs }
      }
    },
  }
}
