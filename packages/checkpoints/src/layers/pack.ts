import { spawn } from 'node:child_process'
import { createHash, hkdfSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import type { DerivedKeys } from '@vm0/backends'
import type { LayerReference } from '../store.js'
import { openFrames, sealFrames } from './frames.js'

/**
 * A layer as a remote store keeps it: magic, length of the header, header (JSON), then the image compressed by zstd, and
 * sealed in frames when there is a key. What was done is told by the object itself, so that another codec or key later
 * changes no manifest.
 */
const magic = Buffer.from('VM0PACK1')

interface PackHeader {
  codec: 'zstd'
  /** Of the plain image. */
  digest: string
  sizeBytes: number
  /** Under which master key, and with which salt, the key of this object is derived. */
  key?: { id: string; salt: string }
}

const objectKey = (project: Buffer, salt: string): Buffer =>
  Buffer.from(hkdfSync('sha256', project, Buffer.from(salt, 'base64'), 'vm0 pack', 32))

/** Writes the packed form of an image to a file. */
export async function packLayer(
  image: string,
  target: string,
  { digest, sizeBytes }: LayerReference,
  keys?: DerivedKeys,
): Promise<void> {
  const key = keys && { id: keys.current.id, salt: randomBytes(32).toString('base64') }
  const text = Buffer.from(JSON.stringify({ codec: 'zstd', digest, sizeBytes, ...(key ? { key } : {}) }))
  const header = Buffer.concat([magic, Buffer.alloc(4), text])
  header.writeUInt32LE(text.length, magic.length)
  const zstd = spawn('zstd', ['-q', '-1', '-T2', '-c', image], { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = endOf(zstd, 'zstd')
  const seal = key ? sealFrames(objectKey(keys.current.key, key.salt), header) : passOn
  await Promise.all([
    pipeline(
      zstd.stdout,
      seal,
      async function* (source: AsyncIterable<Uint8Array>) {
        yield header
        yield* source
      },
      createWriteStream(target, { mode: 0o600 }),
    ),
    ended,
  ])
}

/** Writes the image of a packed layer to a file, and rejects when it isn't the one that is wanted. */
export async function unpackLayer(
  packed: AsyncIterable<Uint8Array>,
  target: string,
  { digest, sizeBytes }: LayerReference,
  keys?: DerivedKeys,
): Promise<void> {
  const source = packed[Symbol.asyncIterator]()
  try {
    const { header, told, rest } = await readHeader(source)
    if (told.digest !== digest) throw new Error(`it says that it is ${told.digest}`)
    const project = told.key && keys?.find(told.key.id)
    if (told.key && !project) throw new Error(`it is sealed under the key ${told.key.id}, which is not here`)
    const open = told.key && project ? openFrames(objectKey(project, told.key.salt), header) : passOn
    const found = await decompress(open(rest), target, sizeBytes)
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

async function readHeader(source: AsyncIterator<Uint8Array>) {
  let bytes = Buffer.alloc(0)
  const need = async (length: number): Promise<void> => {
    while (bytes.length < length) {
      const { value, done } = await source.next()
      if (done) throw new Error('it ends in its header')
      bytes = Buffer.concat([bytes, value as Uint8Array])
    }
  }
  await need(magic.length + 4)
  const end = magic.length + 4 + bytes.readUInt32LE(magic.length)
  if (!bytes.subarray(0, magic.length).equals(magic) || end > 65_536) throw new Error('it is no packed layer')
  await need(end)
  const header = bytes.subarray(0, end)
  const told = JSON.parse(header.toString('utf8', magic.length + 4)) as PackHeader
  if (told.codec !== 'zstd') throw new Error(`its codec is ${String(told.codec)}; expected zstd`)
  const rest = async function* () {
    if (bytes.length > end) yield bytes.subarray(end)
    for (;;) {
      const { value, done } = await source.next()
      if (done) return
      yield value as Uint8Array
    }
  }
  return { header, told, rest: rest() }
}

async function* passOn(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* source
}

async function endOf(child: ReturnType<typeof spawn>, name: string): Promise<void> {
  let words = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (words += text))
  const [status] = (await once(child, 'close')) as [number | null]
  if (status !== 0) throw new Error(`${name} ended with ${status ?? 'a signal'}: ${words.trim().slice(0, 500)}`)
}
