import { mkdir, rm } from 'node:fs/promises'
import type { BlobPort, DerivedKeys, FileCache } from '@vm0/backends'
import { Vm0Error } from '@vm0/contract'
import pLimit from 'p-limit'
import { openArchives } from './archive/archives.js'
import type { ImportLimits } from './from-tar/index.js'
import { diffStacks, type Stack } from './diff/index.js'
import { wholeImage, type ImageFiles } from './erofs/open-images.js'
import { UpperChain } from './layer-chain.js'
import { imageFiles, PackedLayers, PlainLayers } from './layers/layer-store.js'
import { Manifests, resealObjects, sealedObjects } from './sealing/index.js'
import { BackgroundSquash } from './squash/background-squash.js'
import type { CheckpointManifest, CheckpointStore, LayerReference } from './store.js'
import { Templates } from './templates/index.js'
import { checkStore, collectGarbage } from './upkeep/index.js'

export interface CheckpointStoreOptions {
  blobs: BlobPort
  /** A folder of the store's own, on the file system of the objects (or of the cache, where there is one). */
  scratch: string
  /** For a store that isn't a local folder: layers are compressed, sealed when there are keys, and cached here as plain images. */
  packed?: {
    cache: FileCache
    keysOf?: (projectId: string) => DerivedKeys
  }
  /** Local path of an image of this host's templates by its digest. Without it chains of layers only grow. */
  templateImage?: (digest: string) => Promise<string>
  /** The image of a template that a project has made; undefined where it has none of this digest. */
  templateLayer?: (projectId: string, digest: string) => Promise<LayerReference | undefined>
  /** Makes an image, which may be taken over, one of this machine's templates: for sessions from elsewhere. */
  addTemplate?: (digest: string, image: string) => Promise<void>
  importLimits?: Partial<ImportLimits>
  /** Past how many layers a chain is made shorter in the background. */
  maxLayers?: number
  /** Told of what failed in the background; what is saved is whole nevertheless. */
  onError?: (error: unknown) => void
}

/** Checkpoints as objects: layers and manifests, each named by its sha256. */
export async function openCheckpointStore({
  blobs,
  scratch,
  packed,
  templateImage: hostImage,
  templateLayer = () => Promise.resolve(undefined),
  addTemplate = noTemplates,
  importLimits,
  maxLayers = 16,
  onError = () => undefined,
}: CheckpointStoreOptions): Promise<CheckpointStore> {
  await rm(scratch, { recursive: true, force: true })
  await mkdir(scratch, { recursive: true, mode: 0o700 })
  const layers = packed ? new PackedLayers(blobs, scratch, packed.cache, packed.keysOf) : new PlainLayers(blobs)

  const manifests = new Manifests(blobs, packed?.keysOf)
  const load = (id: string): Promise<CheckpointManifest> => manifests.load(id)
  const templates = new Templates({
    blobs,
    layers,
    manifests,
    scratch,
    limits: importLimits,
    hostImage: hostImage ?? noTemplates,
    layerOf: templateLayer,
  })
  const templateImage = hostImage && ((digest: string, projectId: string) => templates.image(digest, projectId))

  const layerImages = ({ projectId, layers: chain }: CheckpointManifest): Promise<ImageFiles[]> =>
    Promise.all(chain.map((layer) => imageFiles(layers, projectId, layer)))

  const maxComparisons = pLimit(2)
  async function stackOf(manifest: CheckpointManifest): Promise<Stack> {
    if (!templateImage) throw new Vm0Error('INTERNAL', 'checkpoints are compared only where templates are at hand')
    const [images, image] = await Promise.all([
      layerImages(manifest),
      templateImage(manifest.template, manifest.projectId),
    ])
    return { template: manifest.template, layers: manifest.layers, images, templateImage: wholeImage(image) }
  }

  return {
    openChain(manifest) {
      const squash = templateImage && new BackgroundSquash({ layers, scratch, maxLayers, templateImage, onError })
      return new UpperChain({ manifests, layers, scratch, squash }, manifest)
    },
    load,
    list: () => manifests.list(),
    layerImages,
    async diff(before, after, query, signal) {
      const bottom = { ...after, layers: [] }
      const [was, is] = await Promise.all([stackOf(before ?? bottom), stackOf(after)])
      return maxComparisons(() => diffStacks(was, is, query, signal))
    },
    archives: openArchives({
      manifests,
      layers,
      scratch,
      layerImages,
      addTemplate,
      templateImage: templateImage ?? noTemplates,
      limits: importLimits,
    }),
    templates,
    fsck: (references, options) => {
      const checkTemplate: Templates['check'] | undefined =
        hostImage && ((digest, projectId, deep) => templates.check(digest, projectId, deep))
      return checkStore({ layers, load, checkTemplate, references, ...options })
    },
    async sealedObjects(options) {
      await layers.settled()
      return packed?.keysOf ? sealedObjects({ blobs, ...options }) : new Map()
    },
    async reseal(options) {
      const keysOf = packed?.keysOf
      await layers.settled()
      return keysOf ? resealObjects({ blobs, scratch, keysOf, ...options }) : { objects: 0, bytes: 0, problems: [] }
    },
    gc: (references, options) => collectGarbage({ blobs, load, references, ...options }),
  }
}

function noTemplates(): never {
  throw new Vm0Error('INTERNAL', 'this store has no templates at hand')
}
