import { randomBytes } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { BlobPort } from '@vm0/backends'
import {
  canonicalJson,
  templateDocumentSchema,
  Vm0Error,
  type IncomingImage,
  type MergedPackages,
  type Shadowed,
  type StoredTemplate,
  type TemplateDocument,
  type TemplateFacts,
} from '@vm0/contract'
import { digestOfFile, documentName } from '../digest.js'
import { wholeImage, type ImageFiles } from '../erofs/open-images.js'
import type { ImportLimits } from '../from-tar/index.js'
import { imageFiles, type LayerStore } from '../layers/layer-store.js'
import type { Manifests } from '../sealing/index.js'
import { mergePackageLists } from '../package-lists/index.js'
import { squashLayers } from '../squash/index.js'
import type { CheckpointManifest, LayerReference } from '../store.js'
import { shadowedChanges } from '../shadow/index.js'
import { factsLayer } from './facts-layer.js'
import { receiveImage } from './incoming-image.js'

export interface TemplatesOptions {
  blobs: BlobPort
  layers: LayerStore
  manifests: Manifests
  scratch: string
  /** Of images from outside. */
  limits?: Partial<ImportLimits> | undefined
  /** Local path of an image of this host's own, such as the built-in template; rejects where there is none. */
  hostImage(digest: string): Promise<string>
  /** The image of a template that a project has made; undefined where it has none of this digest. */
  layerOf(projectId: string, digest: string): Promise<LayerReference | undefined>
}

export interface MakeTemplate {
  projectId: string
  /** Digest of the template below. */
  template: string
  /** What is over it. */
  manifest: CheckpointManifest | undefined
  facts: TemplateFacts
  /** Paths from the root that don't come along; one that ends in `/*` leaves the folder itself. */
  without: readonly string[]
}

/** More are not told one by one. */
const maxShadowed = 1000
/** Nobody looks for what was there; sandboxes have mounts of their own at some of them. */
const passing = ['.vm0-init', 'tmp/*', 'run/*', 'var/tmp/*', 'var/cache/apt/archives/*']

/** The images of templates: those of this host, and those of projects, which are kept as layers are. */
export class Templates {
  constructor(private readonly options: TemplatesOptions) {}

  /** Local path of a template's image; verified where it comes from the store. */
  async image(digest: string, projectId: string): Promise<string> {
    const { layers, layerOf, hostImage } = this.options
    const layer = await layerOf(projectId, digest)
    return layer ? layers.file(projectId, layer) : hostImage(digest)
  }

  private async whole(digest: string, projectId: string): Promise<ImageFiles> {
    return wholeImage(await this.image(digest, projectId))
  }

  /** Rejects with CHECKPOINT_CORRUPT or UNKNOWN_TEMPLATE when the image is missing, or (deep) isn't what it should be. */
  async check(digest: string, projectId: string, deep: boolean): Promise<void> {
    const { layers, layerOf, hostImage } = this.options
    const layer = await layerOf(projectId, digest)
    if (layer) return layers.check(projectId, layer, deep)
    const image = await hostImage(digest)
    const found = deep ? await digestOfFile(image) : digest
    if (found !== digest) throw new Vm0Error('CHECKPOINT_CORRUPT', `the template ${digest} has the digest ${found}`)
  }

  /** One image of a template and what a checkpoint has over it. Nothing is mounted. Durable on return. */
  async make(
    { projectId, template, manifest, facts, without }: MakeTemplate,
    signal?: AbortSignal,
  ): Promise<StoredTemplate> {
    const { layers } = this.options
    return this.inFolder(async (folder) => {
      const [own, over, below] = await Promise.all([
        factsLayer(folder, facts),
        Promise.all((manifest?.layers ?? []).map((layer) => imageFiles(layers, projectId, layer))),
        this.whole(template, projectId),
      ])
      const image = join(folder, 'template.erofs')
      const task = {
        layers: [wholeImage(own), ...over.toReversed(), below],
        below: [],
        image,
        without: [...passing, ...without],
      }
      const reference = await squashLayers(task, signal)
      await layers.put(projectId, reference, image)
      return reference
    })
  }

  /** Takes an OCI image in as a file, of which a template can be made. */
  receive(content: AsyncIterable<Uint8Array>): Promise<IncomingImage> {
    return receiveImage(this.options, content)
  }

  /** What a checkpoint's layers hide of the changes from its template to another one. */
  async shadowed(manifest: CheckpointManifest, template: string, signal?: AbortSignal): Promise<Shadowed> {
    const { projectId } = manifest
    const [layers, before, after] = await Promise.all([
      Promise.all(manifest.layers.map((layer) => imageFiles(this.options.layers, projectId, layer))),
      this.whole(manifest.template, projectId),
      this.whole(template, projectId),
    ])
    return shadowedChanges({ layers: layers.toReversed(), before, after, limit: maxShadowed }, signal)
  }

  /**
   * The lists of packages that a checkpoint's layers hide the other template's behind, merged. With `store` as a layer that is
   * durable on return.
   */
  async merged(
    manifest: CheckpointManifest,
    { template, store }: { template: string; store: boolean },
    signal?: AbortSignal,
  ): Promise<MergedPackages> {
    const { projectId } = manifest
    const { layers } = this.options
    const [own, before, after] = await Promise.all([
      Promise.all(manifest.layers.map((layer) => imageFiles(layers, projectId, layer))),
      this.whole(manifest.template, projectId),
      this.whole(template, projectId),
    ])
    return this.inFolder(async (folder) => {
      const found = await mergePackageLists({ layers: own.toReversed(), before, after }, folder, signal)
      if (found && store) await layers.put(projectId, found.reference, found.image)
      return { paths: found?.paths ?? [], layer: (store && found?.reference) || null }
    })
  }

  /** Stores a checkpoint that follows on another one and has its layers and conversation, over another template; returns its id. */
  async upgrade(
    parent: { id: string; manifest: CheckpointManifest },
    { layer, ...to }: Pick<CheckpointManifest, 'sessionId' | 'template' | 'epoch'> & { layer: LayerReference | null },
  ): Promise<string> {
    const { toolCalls: _, name: __, ...kept } = parent.manifest
    const manifest: CheckpointManifest = {
      ...kept,
      layers: layer ? [...kept.layers, layer] : kept.layers,
      parent: parent.id,
      cause: 'upgrade',
      runId: null,
      outcome: null,
      ...to,
      createdAt: new Date().toISOString(),
    }
    return this.options.manifests.put(manifest)
  }

  /** Has the store tell of a version. */
  async describe(document: TemplateDocument): Promise<void> {
    const { blobs, manifests } = this.options
    const text = Buffer.from(canonicalJson(document))
    await blobs.put(documentName(document), await manifests.sealed(document.projectId, text))
  }

  /** What the store tells of versions; what can't be read is left out. */
  async *documents(): AsyncGenerator<TemplateDocument> {
    const { blobs, manifests } = this.options
    for await (const { name } of blobs.list('templates/')) {
      const stored = await blobs.get(name)
      const text = await manifests.open(Buffer.from(stored)).catch(() => undefined)
      const document = templateDocumentSchema.safeParse(parsed(text))
      if (document.success && documentName(document.data) === name) yield document.data
    }
  }

  private async inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
    const folder = join(this.options.scratch, `template-${randomBytes(8).toString('hex')}`)
    await mkdir(folder, { mode: 0o700 })
    try {
      return await work(folder)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
}

function parsed(text: Uint8Array | undefined): unknown {
  try {
    return text && JSON.parse(Buffer.from(text).toString('utf8'))
  } catch {
    return undefined
  }
}
