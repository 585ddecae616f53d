import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { BlobPort, DerivedKeys } from '@vm0/backends'
import { toVm0Error } from '@vm0/contract'
import type { UpkeepOptions } from '../store.js'
import { isContainer, readContainer, sealContainer, type OpenedContainer } from './container.js'

export interface ResealOptions extends Pick<UpkeepOptions, 'signal'> {
  blobs: BlobPort
  scratch: string
  keysOf(projectId: string): DerivedKeys
  /** Is told how many objects were looked at so far. */
  onProgress?: ((objects: number) => void) | undefined
}

export interface Resealed {
  /** Objects that are under the newest key now and were not before. */
  objects: number
  bytes: number
  /** What could not be opened, and so is under its old key still. */
  problems: string[]
}

/** How many objects are under each master key. Those that are not sealed count under the empty name, damaged ones under none. */
export async function sealedObjects(options: Pick<ResealOptions, 'blobs' | 'onProgress' | 'signal'>) {
  const counts = new Map<string, number>()
  const look = async (_name: string, container: OpenedContainer | undefined): Promise<void> => {
    const id = container?.told.key?.id ?? ''
    counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  await forEach(options, look, () => undefined)
  return counts
}

/**
 * Puts every object that is under another key than its project's newest, or under none, under that one. Each is replaced
 * whole or not at all, so it can be broken off and begun again at any time, beside saves and restores.
 */
export async function resealObjects(options: ResealOptions): Promise<Resealed> {
  const { blobs, scratch, keysOf } = options
  const result: Resealed = { objects: 0, bytes: 0, problems: [] }
  const look = async (name: string, container: OpenedContainer | undefined): Promise<void> => {
    const project = container && (container.told.project ?? /^packs\/([^/]+)\//.exec(name)?.[1])
    // A manifest that was written before there were keys is no container, and says whose it is only inside.
    const plain = container ? undefined : Buffer.from(await blobs.get(name))
    const owner = project ?? (JSON.parse(String(plain)) as { projectId: string }).projectId
    const keys = keysOf(owner)
    if (container?.told.key?.id === keys.current.id) return
    const about = container?.told ?? {
      codec: 'none' as const,
      digest: digestIn(name),
      sizeBytes: plain?.length ?? 0,
      project: owner,
    }
    const content = container ? container.open(keys) : Readable.from([plain])
    const file = join(scratch, `${randomBytes(8).toString('hex')}.reseal`)
    try {
      await pipeline(content, sealContainer(about, keys), createWriteStream(file, { mode: 0o600 }))
      const { size } = await stat(file)
      await blobs.replace(name, file)
      result.objects += 1
      result.bytes += size
    } finally {
      await rm(file, { force: true })
    }
  }
  await forEach(options, look, (name, error) => result.problems.push(`${name}: ${toVm0Error(error).message}`))
  return result
}

const digestIn = (name: string): string => (name.split('/').at(-1) ?? '').replace('-', ':')

/** Each layer and manifest, with its header read where it is a container. */
async function forEach(
  { blobs, onProgress, signal }: Pick<ResealOptions, 'blobs' | 'onProgress' | 'signal'>,
  look: (name: string, container: OpenedContainer | undefined) => Promise<void>,
  onProblem: (name: string, error: unknown) => void,
): Promise<void> {
  let seen = 0
  for (const folder of ['manifests/', 'packs/', 'templates/']) {
    for await (const { name } of blobs.list(folder)) {
      signal?.throwIfAborted()
      try {
        await withContainer(blobs, name, (container) => look(name, container))
      } catch (error) {
        signal?.throwIfAborted()
        // One that is gone was collected since it was listed.
        if ((error as { code?: string }).code === 'STORE_UNREACHABLE') throw error
        if (await blobs.has(name)) onProblem(name, error)
      }
      onProgress?.((seen += 1))
    }
  }
}

async function withContainer(
  blobs: BlobPort,
  name: string,
  look: (container: OpenedContainer | undefined) => Promise<void>,
): Promise<void> {
  const source = (await blobs.read(name))[Symbol.asyncIterator]()
  try {
    const first = await source.next()
    const begin = first.done ? Buffer.alloc(0) : Buffer.from(first.value as Uint8Array)
    if (!isContainer(begin) && name.startsWith('manifests/')) return await look(undefined)
    await look(await readContainer(followedBy(begin, source)))
  } finally {
    await source.return?.()
  }
}

async function* followedBy(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first
  for (;;) {
    const { value, done } = await rest.next()
    if (done) return
    yield value as Uint8Array
  }
}
