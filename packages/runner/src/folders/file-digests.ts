import { Vm0Error } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import type { FoundEntry } from './list-folder.js'

/**
 * A file may change once more within the same tick of the clock without its time telling so: what was changed as lately as
 * this before it was read is read again the next time.
 */
const settleMs = 1_000

/** Digests of the files of one sandbox, kept as long as the sandbox lives, so that what has not changed is read once. */
export class FileDigests {
  private readonly known = new Map<string, { stamp: string; digest: string }>()

  get size(): number {
    return this.known.size
  }

  /** Digest by path, for those that could be read. */
  async of(sandbox: Sandbox, folder: string, files: readonly FoundEntry[]): Promise<Map<string, string>> {
    const digests = new Map<string, string>()
    const unknown = new Map<string, FoundEntry>()
    for (const file of files) {
      const known = this.known.get(`${folder}/${file.path}`)
      if (known?.stamp === file.stamp) digests.set(file.path, known.digest)
      else unknown.set(file.path, file)
    }
    if (unknown.size === 0) return digests
    const startedMs = Date.now()
    for await (const [path, digest] of hash(sandbox, folder, [...unknown.keys()])) {
      const file = unknown.get(path)
      if (!file) continue
      digests.set(path, digest)
      if (file.changedAtMs < startedMs - settleMs) this.known.set(`${folder}/${path}`, { stamp: file.stamp, digest })
      else this.known.delete(`${folder}/${path}`)
    }
    return digests
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
