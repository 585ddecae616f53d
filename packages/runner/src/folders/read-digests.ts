import { PassThrough } from 'node:stream'
import { entryDigest, Vm0Error } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import type { FoundEntry } from './found-entry.js'

/**
 * A file may change once more within the same tick of the clock without its time telling so: what was changed as lately as
 * this before it was read is read again the next time.
 */
const settleMs = 1_000
/** Names that are read while others still come: so many at once. */
const namesAtOnce = 256

/** Gives files their digests while they are still being found, by `sha256sum` in the sandbox. */
export class DigestReading {
  private readonly asked = new Map<string, FoundEntry>()
  private readonly names = new PassThrough()
  private next = ''
  private readonly startedMs = Date.now()
  private done: Promise<void> | undefined

  constructor(
    private readonly sandbox: Sandbox,
    private readonly folder: string,
  ) {}

  add(entry: FoundEntry): void {
    this.asked.set(entry.path, entry)
    // Those that come in one turn go as one: a turn of the stream for each would cost more than to read it.
    if (this.next === '') queueMicrotask(() => this.send())
    this.next += `./${entry.path}\0`
  }

  /** Waits until all are read; gives those that could not be. */
  async end(): Promise<ReadonlySet<FoundEntry>> {
    this.send()
    this.names.end()
    await this.done
    const unread = [...this.asked.values()].filter(({ digest }) => digest === '')
    return new Set(unread)
  }

  private send(): void {
    if (this.next === '') return
    this.names.write(this.next)
    this.next = ''
    if (this.done) return
    this.done = this.read()
    this.done.catch(() => undefined)
  }

  private async read(): Promise<void> {
    for await (const [path, content] of hash(this.sandbox, this.folder, this.names)) {
      const entry = this.asked.get(path)
      if (!entry) continue
      entry.content = content
      entry.digest = entryDigest(entry)
      entry.mark = undefined
      entry.isSettled = entry.changedAtMs <= this.startedMs - settleMs
    }
  }
}

/** What `sha256sum` in the sandbox says, each as it comes. */
async function* hash(
  sandbox: Sandbox,
  folder: string,
  stdin: AsyncIterable<Uint8Array>,
): AsyncGenerator<[string, string]> {
  const args = ['xargs', '-0', '-n', String(namesAtOnce), 'sha256sum', '-z', '--']
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
