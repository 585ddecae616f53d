import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import type { DerivedKeys } from '@vm0/backends'
import { spawn } from '@vm0/process'
import type { Device } from '../erofs/format.js'
import { readContainer, sealContainer } from '../sealing/container.js'
import { unpackContent, unpackInThread } from '../unpack/index.js'

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

/** Larger images are unpacked in a thread of their own; for smaller ones it would take longer to start than to do. */
const smallBytes = 4 * 1024 ** 2

export const isSmall = ({ sizeBytes }: Device): boolean => sizeBytes <= smallBytes

/** Writes the image of a packed layer to a file, and rejects when it isn't the one that is wanted. */
export async function unpackLayer(
  packed: AsyncIterable<Uint8Array>,
  target: string,
  layer: Device,
  keys?: DerivedKeys,
): Promise<void> {
  const source = packed[Symbol.asyncIterator]()
  try {
    const { told, open } = await readContainer(source)
    if (told.digest !== layer.digest) throw new Error(`it says that it is ${told.digest}`)
    if (told.codec !== 'zstd') throw new Error(`its codec is ${told.codec}; expected zstd`)
    const unpack = isSmall(layer) ? unpackContent : unpackInThread
    const found = await unpack({ target, maxBytes: layer.sizeBytes }, open(keys))
    if (found !== layer.digest) throw new Error(`its image has the digest ${found}`)
  } finally {
    await source.return?.()
  }
}

async function endOf(child: ReturnType<typeof spawn>, name: string): Promise<void> {
  let words = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (words += text))
  const [status] = (await once(child, 'close')) as [number | null]
  if (status !== 0) throw new Error(`${name} ended with ${status ?? 'a signal'}: ${words.trim().slice(0, 500)}`)
}
