import { mkdir, rm, stat } from 'node:fs/promises'
import { type BlobPort } from '@vm0/backends'
import { Vm0Error } from '@vm0/contract'
import { digestOf, digestOfFile, objectName } from './digest.js'
import { UpperChain } from './layer-chain.js'
import type { CheckpointManifest, CheckpointStore, LayerReference } from './store.js'

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

  async function load(id: string): Promise<CheckpointManifest> {
    const name = objectName('manifests', id)
    if (!(await blobs.has(name)))
      throw new Vm0Error('CHECKPOINT_CORRUPT', `the manifest of checkpoint ${id} is missing from the store`)
    const text = Buffer.from(await blobs.get(name))
    const found = digestOf(text)
    if (found !== id)
      throw new Vm0Error('CHECKPOINT_CORRUPT', `the manifest of checkpoint ${id} has the digest ${found}`)
    return JSON.parse(text.toString('utf8')) as CheckpointManifest
  }

  async function layerImage({ digest }: LayerReference): Promise<string> {
    const path = await blobs.localPath(objectName('layers', digest))
    if (!path) throw new Vm0Error('CHECKPOINT_CORRUPT', `the layer ${digest} is missing from the store`)
    const { ino, size, mtimeMs } = await stat(path)
    const identity = `${ino} ${size} ${mtimeMs}`
    if (verified.get(path) !== identity) {
      const found = await digestOfFile(path)
      if (found !== digest) throw new Vm0Error('CHECKPOINT_CORRUPT', `the layer ${digest} has the digest ${found}`)
      verified.set(path, identity)
    }
    return path
  }

  return {
    openChain: (layers) => new UpperChain(blobs, scratch, layers),
    load,
    layerImages: (manifest) => Promise.all(manifest.layers.map(layerImage)),
  }
}
