import { randomBytes } from 'node:crypto'
import type { Stats } from 'node:fs'
import { chmod, link, lstat, mkdir, open, rename, rm, symlink, utimes, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Vm0Error } from '@vm0/contract/client'
import type { TarHeader } from 'modern-tar'
import { entryPath, staysInside } from './entry-path.js'
import type { DownloadOptions, DownloadResult } from './receive-tree.js'

/** Permission bits: a file of the sandbox must not become one that runs with its new owner's rights (setuid, setgid). */
const permissions = 0o777

type Body = ReadableStream<Uint8Array>

/**
 * Writes the entries of an archive that nobody trusts below one folder. It never writes through a symbolic link: every
 * folder on an entry's way is looked at first, and a file takes its place by a rename.
 */
export class FolderWriter {
  /** Real folders below the root, by their path in the archive; what the archive says of them is set at the end. */
  private readonly folders = new Map<string, TarHeader | undefined>()

  constructor(
    private readonly root: string,
    private readonly outsideLinks: NonNullable<DownloadOptions['outsideLinks']>,
    private readonly result: DownloadResult,
  ) {}

  async write(header: TarHeader, body: Body): Promise<void> {
    const parts = entryPath(header.name)
    const path = join(this.root, ...parts)
    if (header.type === 'directory') {
      await this.makeFolders(parts)
      this.folders.set(parts.join('/'), header)
      return body.cancel()
    }
    await this.makeFolders(parts.slice(0, -1))
    switch (header.type) {
      case 'file':
        return writeFile(path, header, body, this.result)
      case 'symlink':
        await this.makeLink(path, header, parts.length - 1)
        return body.cancel()
      case 'link':
        await this.makeHardLink(path, header)
        return body.cancel()
      default:
        this.result.skipped.push({ path: parts.join('/'), reason: `it is a ${header.type}` })
        return body.cancel()
    }
  }

  /** A file that `write` fills, in its place when it is whole. */
  async place(name: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
    const parts = entryPath(name)
    await this.makeFolders(parts.slice(0, -1))
    await placeFile(join(this.root, ...parts), write)
  }

  /** Modes and times of folders come last: one may forbid writing into it, and writing changes its time. */
  async finish(): Promise<void> {
    for (const [name, header] of [...this.folders].toReversed()) {
      if (!header || name === '') continue
      const path = join(this.root, name)
      if (header.mode !== undefined) await chmod(path, header.mode & permissions)
      if (header.mtime) await utimes(path, header.mtime, header.mtime)
    }
  }

  private async makeFolders(parts: readonly string[]): Promise<void> {
    if (!this.folders.has('')) {
      await mkdir(this.root, { recursive: true })
      this.folders.set('', undefined)
    }
    for (let depth = 1; depth <= parts.length; depth++) {
      const name = parts.slice(0, depth).join('/')
      if (this.folders.has(name)) continue
      const path = join(this.root, name)
      if (!(await lstat(path).catch(() => makeFolder(path))).isDirectory())
        throw new Vm0Error('FILE_INVALID', `${path} is not a folder here, and is one in the session`, {
          hint: 'Move it away, or download into another folder.',
        })
      this.folders.set(name, undefined)
    }
  }

  private async makeLink(path: string, { name, linkname = '' }: TarHeader, depth: number): Promise<void> {
    if (!staysInside(linkname, depth)) {
      const reason = `it is a link that leads out of the folder, to ${linkname}`
      if (this.outsideLinks === 'fail')
        throw new Vm0Error('FILE_INVALID', `${name} can't be downloaded: ${reason}`, {
          hint: "Pass outsideLinks: 'skip' to leave such links out.",
        })
      this.result.skipped.push({ path: name.replace(/^\.\//, ''), reason })
      return
    }
    await replace(path, (temporary) => symlink(linkname, temporary))
    this.result.files += 1
  }

  /** To a file of this archive that has come before, on a way of real folders. */
  private async makeHardLink(path: string, { name, linkname = '' }: TarHeader): Promise<void> {
    const parts = entryPath(linkname)
    const first = join(this.root, ...parts)
    const isFile = this.folders.has(parts.slice(0, -1).join('/')) && (await lstat(first)).isFile()
    if (!isFile)
      throw new Vm0Error('FILE_INVALID', `the archive's entry ${name} links to ${linkname}, which is no file`)
    await rm(path, { force: true })
    await link(first, path)
    this.result.files += 1
  }
}

/** Another writer, with another part of the same folder, may be faster. */
async function makeFolder(path: string): Promise<Stats> {
  await mkdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  return lstat(path)
}

/** Writes a file whole, in place of what is at `path`. */
export async function writeFile(path: string, header: TarHeader, body: Body, result: DownloadResult): Promise<void> {
  await placeFile(path, async (file) => {
    for await (const chunk of body) {
      await file.writeFile(chunk)
      result.bytes += chunk.length
    }
    if (header.mode !== undefined) await file.chmod(header.mode & permissions)
    if (header.mtime) await file.utimes(header.mtime, header.mtime)
  })
  result.files += 1
}

/** A file that `write` fills takes the place of what is at `path` when it is whole. */
export const placeFile = (path: string, write: (file: FileHandle) => Promise<void>): Promise<void> =>
  replace(path, async (temporary) => {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await write(file)
    } finally {
      await file.close()
    }
  })

/** A rename puts the new thing in the old one's place, without following it when it is a link. */
async function replace(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = join(dirname(path), `.vm0-${randomBytes(6).toString('hex')}`)
  try {
    await make(temporary)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}
