import { createHash } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { chunksOf, Vm0Error, type Chunk } from '@vm0/contract/client'

const pieceBytes = 1024 ** 2

/** A regular file that is read more than once: what it was when it was opened shows whether it has changed since. */
export class LocalFile implements AsyncDisposable {
  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    readonly info: Stats,
  ) {}

  /** Undefined where there is none; a link is none. */
  static async open(path: string): Promise<LocalFile | undefined> {
    const handle = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | constants.O_NONBLOCK).catch(
      () => undefined,
    )
    const info = await handle?.stat()
    if (handle && info?.isFile()) return new LocalFile(path, handle, info)
    await handle?.close()
    return undefined
  }

  async *read(atBytes = 0, endBytes = this.info.size): AsyncGenerator<Buffer> {
    for (let at = atBytes; at < endBytes;) {
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, endBytes - at))
      const { bytesRead } = await this.handle.read(piece, 0, piece.length, at)
      if (bytesRead === 0) throw this.changed()
      at += bytesRead
      yield piece.subarray(0, bytesRead)
    }
  }

  async chunks(): Promise<Chunk[]> {
    const chunks: Chunk[] = []
    for await (const chunk of chunksOf(this.read())) chunks.push(chunk)
    return chunks
  }

  /** The sha256 of all of it, in hex. */
  async digest(): Promise<string> {
    const hash = createHash('sha256')
    for await (const bytes of this.read()) hash.update(bytes)
    return hash.digest('hex')
  }

  async hasChanged(): Promise<boolean> {
    const { size, mtimeMs, ctimeMs } = await this.handle.stat()
    return size !== this.info.size || mtimeMs !== this.info.mtimeMs || ctimeMs !== this.info.ctimeMs
  }

  changed(): Vm0Error {
    return new Vm0Error('FILE_INVALID', `${this.path} changed while it was read; expected one that holds still`, {
      hint: 'Try again when nothing writes to it.',
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close()
  }
}
