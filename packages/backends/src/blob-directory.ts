import { randomBytes } from 'node:crypto'
import { copyFile, link, mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { Vm0Error } from '@vm0/contract'
import { syncPath } from './durable.js'
import type { BlobPort } from './ports.js'

/** What an upload left behind when its process ended, and nobody can be working on any more. */
const abandonedMs = 24 * 3_600_000

/** Marks an object that is being collected. */
const asidePrefix = 'aside-'
const nameOfAside = (entry: string): string => entry.slice(asidePrefix.length).replaceAll('%', '/')

async function putBack(aside: string, path: string): Promise<void> {
  try {
    await link(aside, path)
  } catch (error) {
    // Gone: somebody else put it back. There: somebody wrote it anew.
    if (!['ENOENT', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
  await rm(aside, { force: true })
}

/** Objects as files of one folder; writes are atomic (a temporary file, fsync, rename, fsync of the folder). Several processes may have it open. */
export async function openBlobDirectory(directory: string, now: () => number = Date.now): Promise<BlobPort> {
  const incoming = join(directory, '.incoming')
  await mkdir(incoming, { recursive: true, mode: 0o700 })
  const place = (name: string): string => {
    if (!/^[a-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*){0,3}$/.test(name))
      throw new Vm0Error(
        'INTERNAL',
        `object name ${JSON.stringify(name)}: expected letters, digits, ".", "_", "-" and "/"`,
      )
    return join(directory, name)
  }
  for (const entry of await readdir(incoming)) {
    const path = join(incoming, entry)
    // Its collection was broken off before it was sure that nobody wanted the object.
    if (entry.startsWith(asidePrefix)) await putBack(path, place(nameOfAside(entry)))
    const found = await stat(path).catch(() => undefined)
    if (found && now() - found.ctimeMs > abandonedMs) await rm(path, { force: true })
  }
  const has = (name: string): Promise<boolean> =>
    stat(place(name)).then(
      () => true,
      () => false,
    )
  const renew = async (name: string): Promise<boolean> => {
    try {
      const time = new Date(now())
      await utimes(place(name), time, time)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return false
    }
  }
  const publish = async (temporary: string, name: string): Promise<void> => {
    const time = new Date(now())
    await utimes(temporary, time, time)
    await syncPath(temporary)
    const target = place(name)
    await mkdir(dirname(target), { recursive: true, mode: 0o700 })
    await rename(temporary, target)
    await syncPath(dirname(target))
    await syncPath(directory)
  }

  const replace = async (name: string, path: string): Promise<void> => {
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
  }

  return {
    has,
    renew,
    replace,
    async putFile(name, path) {
      if (!(await renew(name))) await replace(name, path)
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
    async removeOld(name, writtenBeforeMs) {
      const isOld = (path: string): Promise<boolean> =>
        stat(path).then(
          ({ mtimeMs }) => mtimeMs < writtenBeforeMs,
          () => false,
        )
      if (!(await isOld(place(name)))) return false
      // Taken aside first: who renews it now either did so before, which is seen, or finds it gone and writes it anew.
      const aside = join(incoming, asidePrefix + name.replaceAll('/', '%'))
      await rename(place(name), aside).catch(() => undefined)
      const remove = await isOld(aside)
      if (remove) await rm(aside, { force: true })
      else await putBack(aside, place(name))
      return remove
    },
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
