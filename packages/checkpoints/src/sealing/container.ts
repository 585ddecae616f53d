import { hkdfSync, randomBytes } from 'node:crypto'
import type { DerivedKeys } from '@vm0/backends'
import { Vm0Error } from '@vm0/contract'
import { openFrames, sealFrames } from './frames.js'

/**
 * A layer or a manifest as a remote store keeps it: magic, length of the header, header (JSON), then the content, compressed
 * as the codec says, and sealed in frames when there is a key. What was done is told by the object itself, so that another
 * codec or key later changes no manifest.
 */
const magic = Buffer.from('VM0PACK1')

export interface ContainerHeader {
  codec: 'zstd' | 'none'
  /** Of the plain content. */
  digest: string
  sizeBytes: number
  /** Of a manifest: whose key it is sealed with. A layer's name says so. */
  project?: string
  /** Under which master key, and with which salt, the key of this object is derived. */
  key?: { id: string; salt: string }
}

export interface OpenedContainer {
  told: ContainerHeader
  /** The content as it was given to `sealContainer`; fails where it is damaged, or its key isn't here. */
  open(keys: DerivedKeys | undefined): AsyncIterable<Uint8Array>
}

type Transform = (source: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>

const objectKey = (project: Buffer, salt: string): Buffer =>
  Buffer.from(hkdfSync('sha256', project, Buffer.from(salt, 'base64'), 'vm0 pack', 32))

/** What makes a container of a content; sealed under the newest key, where there are keys. */
export function sealContainer(about: Omit<ContainerHeader, 'key'>, keys?: DerivedKeys): Transform {
  const key = keys && { id: keys.current.id, salt: randomBytes(32).toString('base64') }
  const { codec, digest, sizeBytes, project } = about
  const told: ContainerHeader = { codec, digest, sizeBytes, ...(project ? { project } : {}), ...(key ? { key } : {}) }
  const text = Buffer.from(JSON.stringify(told))
  const header = Buffer.concat([magic, Buffer.alloc(4), text])
  header.writeUInt32LE(text.length, magic.length)
  const seal: Transform = key ? sealFrames(objectKey(keys.current.key, key.salt), header) : passOn
  return async function* (source) {
    yield header
    yield* seal(source)
  }
}

export const isContainer = (bytes: Uint8Array): boolean => magic.equals(bytes.subarray(0, magic.length))

/** Reads the header; the rest comes with `open`. Whoever doesn't read to the end returns the source. */
export async function readContainer(source: AsyncIterator<Uint8Array>): Promise<OpenedContainer> {
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
  if (!isContainer(bytes) || end > 65_536) throw new Error('it is no packed object')
  await need(end)
  const header = bytes.subarray(0, end)
  const told = JSON.parse(header.toString('utf8', magic.length + 4)) as ContainerHeader
  if (told.codec !== 'zstd' && told.codec !== 'none')
    throw new Error(`its codec is ${String(told.codec)}; expected zstd or none`)
  const rest = async function* () {
    if (bytes.length > end) yield bytes.subarray(end)
    for (;;) {
      const { value, done } = await source.next()
      if (done) return
      yield value as Uint8Array
    }
  }
  return {
    told,
    open(keys) {
      if (!told.key) return rest()
      const project = keys?.find(told.key.id)
      if (!project)
        throw new Vm0Error('ENCRYPTION_KEY_MISSING', `it is sealed under the key ${told.key.id}, which is not here`)
      return openFrames(objectKey(project, told.key.salt), header)(rest())
    },
  }
}

async function* passOn(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* source
}
