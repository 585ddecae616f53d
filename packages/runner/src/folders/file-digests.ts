import { entryDigest, Vm0Error } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { KnownFolder, type FoundEntry } from './known-folder.js'

/**
 * A file may change once more within the same tick of the clock without its time telling so: what was changed as lately as
 * this before it was read is read again the next time.
 */
const settleMs = 1_000

/** Of a sandbox; the ones that were asked for last. */
const maxFolders = 4

/** Digests of what is in one sandbox, kept as long as it lives, so that what has not changed is read once. */
export class FileDigests {
  private readonly folders = new Map<string, KnownFolder>()

  /** What is known of a folder from before. */
  folder(folder: string): KnownFolder {
    const known = this.folders.get(folder) ?? new KnownFolder()
    this.folders.delete(folder)
    this.folders.set(folder, known)
    for (const oldest of this.folders.keys()) if (this.folders.size > maxFolders) this.folders.delete(oldest)
    return known
  }

  /** Those that could be read, with their digests. */
  async of(sandbox: Sandbox, folder: string, entries: readonly FoundEntry[]): Promise<readonly FoundEntry[]> {
    const unread = new Map<string, FoundEntry>()
    for (const entry of entries) if (entry.digest === '') unread.set(entry.path, entry)
    if (unread.size === 0) return entries
    const startedMs = Date.now()
    for await (const [path, content] of hash(sandbox, folder, [...unread.keys()])) {
      const entry = unread.get(path)
      if (!entry) continue
      entry.content = content
      entry.digest = entryDigest(entry)
      entry.mark = undefined
    }
    const unsettled = [...unread.values()].filter(({ changedAtMs }) => changedAtMs > startedMs - settleMs)
    if (unsettled.length > 0) this.folders.get(folder)?.forget(new Set(unsettled))
    return entries.filter(({ digest }) => digest !== '')
  }
}

/** What `sha256sum` in the sandbox says, each as it comes. */
async function* hash(sandbox: Sandbox, folder: string, paths: readonly string[]): AsyncGenerator<[string, string]> {
  const stdin = Buffer.from(paths.map((path) => `./${path}\0`).join(''))
  const args = ['xargs', '-0', 'sha256sum', '-z', '--']
  let rest = Buffer.alloc(0)
  for await (const chunk of sandbox.exec({ args, cwd: folder, stdin })) {
    if ('exitCode' in chunk) {
      // A file that went meanwhile, or can't be read, makes 123: it has no digest then.
      if (chunk.exitCode !== 0 && chunk.exitCode !== 123)
        throw new Vm0Error('EXEC_FAILED', `reading the files of ${folder} ended with status ${chunk.exitCode}`)
    } else if (chunk.stream === 'stdout') {
      const bytes = rest.length > 0 ? Buffer.concat([rest, chunk.data]) : Buffer.from(chunk.data)
      const end = bytes.lastIndexOf(0) + 1
      rest = bytes.subarray(end)
      for (const line of bytes.toString('utf8', 0, end).split('\0')) {
        const match = /^([0-9a-f]{64}) [ *]\.\/(.+)$/s.exec(line)
        if (match) yield [match[2] as string, match[1] as string]
      }
    }
  }
}
