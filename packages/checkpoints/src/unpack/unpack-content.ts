import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { Decompressor } from './zstd.js'

export interface UnpackTask {
  /** The file that is made. */
  target: string
  /** It may be no longer than this. */
  maxBytes: number
}

const bufferBytes = 512 * 1024

/** Decompresses what zstd has compressed into a file; returns the digest of what was written. */
export async function unpackContent(
  { target, maxBytes }: UnpackTask,
  compressed: AsyncIterable<Uint8Array>,
): Promise<string> {
  const hash = createHash('sha256')
  const decompressor = new Decompressor()
  const file = await open(target, 'w', 0o600)
  // One is filled while the other is written.
  const buffers = [Buffer.allocUnsafeSlow(bufferBytes), Buffer.allocUnsafeSlow(bufferBytes)] as const
  let current: 0 | 1 = 0
  let filled = 0
  let bytes = 0
  let written: Promise<unknown> = Promise.resolve()
  const pass = async (): Promise<void> => {
    const full = buffers[current].subarray(0, filled)
    bytes += full.length
    if (bytes > maxBytes) throw new Error(`it holds more than the ${maxBytes} bytes that it should`)
    hash.update(full)
    await written
    written = file.writeFile(full)
    // Awaited in the next round: a failure is told there.
    written.catch(() => undefined)
    current = current === 0 ? 1 : 0
    filled = 0
  }
  try {
    for await (const chunk of compressed) {
      const input = { bytes: chunk, position: 0 }
      for (;;) {
        filled = decompressor.step(input, buffers[current], filled)
        if (filled === bufferBytes) await pass()
        else if (input.position === chunk.length) break
      }
    }
    await pass()
    await written
    if (!decompressor.isComplete) throw new Error('it ends in the middle of a zstd frame')
  } finally {
    await written.catch(() => undefined)
    decompressor.close()
    await file.close()
  }
  return `sha256:${hash.digest('hex')}`
}
