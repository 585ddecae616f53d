import { createHash, randomBytes } from 'node:crypto'
import { mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type BlobPort } from '@vm0/backends'
import { canonicalJson, Vm0Error } from '@vm0/contract'
import { countEntries, digestOf, packErofs } from './erofs.js'
import type { CheckpointManifest, CheckpointStore, SavedCheckpoint, SaveRequest } from './store.js'

const blobName = (kind: 'layers' | 'manifests', digest: string): string => `${kind}/${digest.replace(':', '-')}`

/** Checkpoints as objects: layers and manifests, each named by its sha256. `scratch` lies on the file system of the objects. */
export async function openCheckpointStore({
  blobs,
  scratch,
}: {
  blobs: BlobPort
  scratch: string
}): Promise<CheckpointStore> {
  await rm(scratch, { recursive: true, force: true })
  await mkdir(scratch, { recursive: true, mode: 0o700 })
  const verified = new Map<string, string>()

  async function save({ manifest, baseLayers, upper }: SaveRequest): Promise<SavedCheckpoint> {
    const startedMs = performance.now()
    const image = join(scratch, `${randomBytes(8).toString('hex')}.erofs`)
    try {
      const [changedFiles] = await Promise.all([countEntries(upper), packErofs(upper, image)])
      const [digest, { size }] = await Promise.all([digestOf(image), stat(image)])
      await blobs.putFile(blobName('layers', digest), image)
      const complete: CheckpointManifest = {
        v: 1,
        ...manifest,
        layers: [...baseLayers, { digest, sizeBytes: size }],
        createdAt: new Date().toISOString(),
      }
      const text = canonicalJson(complete)
      const id = `sha256:${createHash('sha256').update(text).digest('hex')}`
      await blobs.put(blobName('manifests', id), Buffer.from(text))
      return { id, manifest: complete, changedFiles, sizeBytes: size, durationMs: performance.now() - startedMs }
    } catch (cause) {
      throw new Vm0Error('CHECKPOINT_FAILED', `the session could not be saved: ${(cause as Error).message}`, { cause })
    } finally {
      await rm(image, { force: true })
    }
  }

  async function load(id: string): Promise<CheckpointManifest> {
    const name = blobName('manifests', id)
    if (!(await blobs.has(name)))
      throw new Vm0Error('CHECKPOINT_CORRUPT', `the manifest of checkpoint ${id} is missing from the store`)
    const text = Buffer.from(await blobs.get(name))
    const found = `sha256:${createHash('sha256').update(text).digest('hex')}`
    if (found !== id)
      throw new Vm0Error('CHECKPOINT_CORRUPT', `the manifest of checkpoint ${id} has the digest ${found}`)
    return JSON.parse(text.toString('utf8')) as CheckpointManifest
  }

  async function layerImage({ digest }: { digest: string }): Promise<string> {
    const path = await blobs.localPath(blobName('layers', digest))
    if (!path) throw new Vm0Error('CHECKPOINT_CORRUPT', `the layer ${digest} is missing from the store`)
    const { ino, size, mtimeMs } = await stat(path)
    const identity = `${ino} ${size} ${mtimeMs}`
    if (verified.get(path) !== identity) {
      const found = await digestOf(path)
      if (found !== digest) throw new Vm0Error('CHECKPOINT_CORRUPT', `the layer ${digest} has the digest ${found}`)
      verified.set(path, identity)
    }
    return path
  }

  return { save, load, layerImages: (manifest) => Promise.all(manifest.layers.map(layerImage)) }
}
