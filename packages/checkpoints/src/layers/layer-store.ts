import { randomBytes } from 'node:crypto'
import type { Stats } from 'node:fs'
import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { BlobPort, DerivedKeys, FileCache } from '@vm0/backends'
import { Vm0Error } from '@vm0/contract'
import pLimit from 'p-limit'
import { digestOfFile, objectName, packName } from '../digest.js'
import type { Device } from '../erofs/format.js'
import type { ImageFiles } from '../erofs/open-images.js'
import { imagesOf, type LayerReference } from '../store.js'
import { isSmall, packLayer, unpackLayer } from './pack.js'

/** Where layers are kept, and how one becomes a file that can be mounted. */
export interface LayerStore {
  /** Durable on return. Takes the file over. */
  put(projectId: string, layer: Device, image: string): Promise<void>
  /** A local file with the plain image, verified; CHECKPOINT_CORRUPT names what is damaged or missing. */
  file(projectId: string, layer: Device): Promise<string>
  /** The same where it is at hand, as it is: nothing is fetched, and nothing compared. */
  fileAtHand(projectId: string, layer: Device): Promise<string | undefined>
  /** Whether the store has it; then it is kept for a while though no checkpoint names it yet. */
  renew(projectId: string, layer: Device): Promise<boolean>
  /** Rejects with CHECKPOINT_CORRUPT when the stored object is missing, or (deep) isn't what it should be. */
  check(projectId: string, layer: Device, deep: boolean): Promise<void>
  /** Resolves when what is being written now is written: under the key that was the newest when that began. */
  settled(): Promise<void>
}

/** The files of a layer: of its image, and of those that have blocks of it. */
export async function imageFiles(
  layers: Pick<LayerStore, 'file'>,
  projectId: string,
  layer: LayerReference,
): Promise<ImageFiles> {
  const [path, ...devices] = await Promise.all(imagesOf(layer).map((each) => layers.file(projectId, each)))
  return { path: path as string, devices }
}

const corrupt = (layer: Device, what: string, cause?: unknown): Vm0Error =>
  new Vm0Error('CHECKPOINT_CORRUPT', `the layer ${layer.digest} ${what}`, cause === undefined ? {} : { cause })

/** Verifies a file once per process, as long as it is the same one. */
class Verifier {
  private readonly verified = new Map<string, string>()

  /** The digest that the file has, where it isn't the expected one. */
  async mismatch(path: string, digest: string): Promise<string | undefined> {
    const identity = identityOf(await stat(path))
    if (this.verified.get(path) === identity) return undefined
    const found = await digestOfFile(path)
    if (found !== digest) return found
    this.verified.set(path, identity)
    return undefined
  }

  /** The file that was made here has its digest: it need not be read again. */
  async trust(path: string, inode: number): Promise<void> {
    const status = await stat(path)
    if (status.ino === inode) this.verified.set(path, identityOf(status))
  }
}

/** The same as long as nobody has written to the file: not its ctime, which moves with each use of a cache. */
const identityOf = ({ ino, size, mtimeMs }: Stats): string => `${ino} ${size} ${mtimeMs}`

/** On a local folder layers lie as they are, and are mounted from where they lie. */
export class PlainLayers implements LayerStore {
  private readonly verifier = new Verifier()

  constructor(private readonly blobs: BlobPort) {}

  async put(_projectId: string, { digest }: Device, image: string): Promise<void> {
    const name = objectName('layers', digest)
    const { ino } = await stat(image)
    await this.blobs.putFile(name, image)
    const path = await this.blobs.localPath(name)
    // One that was there before is another file.
    if (path) await this.verifier.trust(path, ino)
  }

  async file(_projectId: string, layer: Device): Promise<string> {
    const path = await this.blobs.localPath(objectName('layers', layer.digest))
    if (!path) throw corrupt(layer, 'is missing from the store')
    const found = await this.verifier.mismatch(path, layer.digest)
    if (found) throw corrupt(layer, `has the digest ${found}`)
    return path
  }

  fileAtHand(_projectId: string, { digest }: Device): Promise<string | undefined> {
    return this.blobs.localPath(objectName('layers', digest))
  }

  renew(_projectId: string, { digest }: Device): Promise<boolean> {
    return this.blobs.renew(objectName('layers', digest))
  }

  async check(_projectId: string, layer: Device, deep: boolean): Promise<void> {
    const path = await this.blobs.localPath(objectName('layers', layer.digest))
    if (!path) throw corrupt(layer, 'is missing from the store')
    const { size } = await stat(path)
    if (size !== layer.sizeBytes) throw corrupt(layer, `has ${size} bytes; expected ${layer.sizeBytes}`)
    const found = deep ? await digestOfFile(path) : layer.digest
    if (found !== layer.digest) throw corrupt(layer, `has the digest ${found}`)
  }

  settled(): Promise<void> {
    return Promise.resolve()
  }
}

/** In a remote store layers are packed, each project's for itself; a cache of plain images is shared by all sandboxes of this host. */
export class PackedLayers implements LayerStore {
  private readonly verifier = new Verifier()
  private readonly writing = new Set<Promise<void>>()
  /** Small ones wait for the store most of the time; of large ones each has a thread at work. */
  private readonly smallFetches = pLimit(16)
  private readonly largeFetches = pLimit(2)

  constructor(
    private readonly blobs: BlobPort,
    private readonly scratch: string,
    private readonly cache: FileCache,
    /** The keys of a project; without, nothing is sealed. */
    private readonly keysOf?: (projectId: string) => DerivedKeys,
  ) {}

  async put(projectId: string, layer: Device, image: string): Promise<void> {
    const work = this.store(projectId, layer, image)
    this.writing.add(work)
    await work.finally(() => this.writing.delete(work))
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.writing)
  }

  private async store(projectId: string, layer: Device, image: string): Promise<void> {
    const packed = join(this.scratch, `${randomBytes(8).toString('hex')}.pack`)
    try {
      await packLayer(image, packed, layer, this.keysOf?.(projectId))
      await this.blobs.putFile(packName(projectId, layer.digest), packed)
    } finally {
      await rm(packed, { force: true })
    }
    const { ino } = await stat(image)
    await this.cache.add(cacheName(layer), image)
    const path = await this.cache.get(cacheName(layer))
    if (path) await this.verifier.trust(path, ino)
  }

  fileAtHand(_projectId: string, layer: Device): Promise<string | undefined> {
    return this.cache.get(cacheName(layer))
  }

  async file(projectId: string, layer: Device): Promise<string> {
    const cached = await this.cache.get(cacheName(layer))
    if (cached) {
      if (!(await this.verifier.mismatch(cached, layer.digest))) return cached
      await this.cache.remove(cacheName(layer))
    }
    let inode: number | undefined
    const path = await this.cache.fill(cacheName(layer), async (temporary) => {
      await this.fetch(projectId, layer, temporary)
      inode = (await stat(temporary)).ino
    })
    if (inode !== undefined) await this.verifier.trust(path, inode)
    return path
  }

  renew(projectId: string, { digest }: Device): Promise<boolean> {
    return this.blobs.renew(packName(projectId, digest))
  }

  async check(projectId: string, layer: Device, deep: boolean): Promise<void> {
    if (deep) return this.fetch(projectId, layer, '/dev/null')
    if (!(await this.blobs.has(packName(projectId, layer.digest)))) throw corrupt(layer, 'is missing from the store')
  }

  private fetch(projectId: string, layer: Device, path: string): Promise<void> {
    const turn = isSmall(layer) ? this.smallFetches : this.largeFetches
    return turn(() => this.fetchNow(projectId, layer, path))
  }

  private async fetchNow(projectId: string, layer: Device, path: string): Promise<void> {
    const name = packName(projectId, layer.digest)
    try {
      await unpackLayer(await this.blobs.read(name), path, layer, this.keysOf?.(projectId))
    } catch (error) {
      const { code, message } = error as Vm0Error
      if (code === 'STORE_UNREACHABLE') throw error
      if (code === 'ENCRYPTION_KEY_MISSING')
        throw new Vm0Error(code, `the layer ${layer.digest}: ${message}`, { cause: error })
      // Asked only now: a fetch that goes well is one request.
      if (!(await this.blobs.has(name))) throw corrupt(layer, 'is missing from the store', error)
      throw corrupt(layer, `is damaged: ${message}`, error)
    }
  }
}

const cacheName = ({ digest }: Device): string => digest.replace(':', '-')
