import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import type { DerivedKeys } from '@vm0/backends'
import { spawn } from '@vm0/process'
import { readContainer, sealContainer } from '../sealing/container.js'
import type { Device } from '../erofs/format.js'

/** Writes the packed form of an image to a file: compressed by zstd, and sealed when there is a key. */
export async function packLayer(
  image: string,
  target: string,
  { digest, sizeBytes }: Device,
  keys?: DerivedKeys,
): Promise<void> {
  const zstd = spawn('zstd', ['-q', '-1', '-T2', '-c', image], { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = endOf(zstd, 'zstd')
  const seal = sealContainer({ codec: 'zstd', digest, sizeBytes }, keys)
  await Promise.all([pipeline(zstd.stdout, seal, createWriteStream(target, { mode: 0o600 })), ended])
}

/** Writes the image of a packed layer to a file, and rejects when it isn't the one that is wanted. */
export async function unpackLayer(
  packed: AsyncIterable<Uint8Array>,
  target: string,
  { digest, sizeBytes }: Device,
  keys?: DerivedKeys,
): Promise<void> {
  const source = packed[Symbol.asyncIterator]()
  try {
    const { told, open } = await readContainer(source)
    if (told.digest !== digest) throw new Error(`it says that it is ${told.digest}`)
    if (told.codec !== 'zstd') throw new Error(`its codec is ${told.codec}; expected zstd`)
    const found = await decompress(open(keys), target, sizeBytes)
    if (found !== digest) throw new Error(`its image has the digest ${found}`)
  } finally {
    await source.return?.()
  }
}

/** Writes the plain bytes to a file; returns their digest. */
async function decompress(compressed: AsyncIterable<Uint8Array>, target: string, maxBytes: number): Promise<string> {
  const zstd = spawn('zstd', ['-q', '-d', '-c'], { stdio: ['pipe', 'pipe', 'pipe'] })
  const hash = createHash('sha256')
  let bytes = 0
  const verify = async function* (source: AsyncIterable<Uint8Array>) {
    for await (const chunk of source) {
      bytes += chunk.length
      if (bytes > maxBytes) throw new Error(`it holds more than the ${maxBytes} bytes that it should`)
      hash.update(chunk)
      yield chunk
    }
  }
  try {
    await Promise.all([
      pipeline(compressed, zstd.stdin),
      pipeline(zstd.stdout, verify, createWriteStream(target, { mode: 0o600 })),
      endOf(zstd, 'zstd'),
    ])
  } finally {
    zstd.kill('SIGKILL')
  }
  return `sha256:${hash.digest('hex')}`
}

async function endOf(child: ReturnType<typeof spawn>, name: string): Promise<void> {
  let words = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (words += text))
  const [status] = (await once(child, 'close')) as [number | null]
  if (status !== 0) throw new Error(`${name} ended with ${status ?? 'a signal'}: ${words.trim().slice(0, 500)}`)
}
