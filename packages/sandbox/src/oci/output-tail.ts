import { open, type FileHandle } from 'node:fs/promises'
import type { OutputLine } from '../engine.js'

/** `2026-11-24_13:14:15.12345 ` in front of each line of svlogd -tt. */
const stampLength = 26

/** Of a longer line only the head is kept, with a mark of what is missing: a line has to fit into memory several times. */
const maxLineBytes = 32 * 1024 ** 2

/** New whole lines of a growing file. */
export class Tail {
  bytes = 0
  private handle: FileHandle | undefined
  private parts: Buffer[] = []
  private lineBytes = 0
  private closed = false
  private readonly chunk = Buffer.allocUnsafe(256 * 1024)

  constructor(
    readonly path: string,
    private readonly stream: 'stdout' | 'stderr',
  ) {}

  async read(): Promise<OutputLine[]> {
    if (this.closed) return []
    this.handle ??= await open(this.path, 'r')
    const lines: OutputLine[] = []
    for (;;) {
      const { handle } = this
      if (!handle) return lines
      const { bytesRead } = await handle.read(this.chunk, 0, this.chunk.length, this.bytes)
      if (bytesRead === 0) return lines
      this.bytes += bytesRead
      let start = 0
      for (
        let newline = this.chunk.indexOf(10);
        newline >= 0 && newline < bytesRead;
        newline = this.chunk.indexOf(10, start)
      ) {
        this.keep(this.chunk.subarray(start, newline))
        const line = this.line()
        start = newline + 1
        lines.push({ timeMs: parseStamp(line), stream: this.stream, text: line.slice(stampLength) })
      }
      this.keep(this.chunk.subarray(start, bytesRead))
      if (lines.length > 256) return lines
    }
  }

  private keep(part: Buffer): void {
    const room = Math.max(0, maxLineBytes - this.lineBytes)
    if (room > 0 && part.length > 0) this.parts.push(Buffer.from(part.subarray(0, room)))
    this.lineBytes += part.length
  }

  private line(): string {
    const cut = this.lineBytes - maxLineBytes
    const head = Buffer.concat(this.parts).toString('utf8')
    this.parts = []
    this.lineBytes = 0
    return cut > 0 ? `${head}…[${cut} bytes cut]` : head
  }

  async close(): Promise<void> {
    this.closed = true
    const { handle } = this
    this.handle = undefined
    await handle?.close()
  }
}

function parseStamp(line: string): number {
  return Date.parse(`${line.slice(0, 10)}T${line.slice(11, 23)}Z`) + Number(line.slice(23, 25)) / 100
}
