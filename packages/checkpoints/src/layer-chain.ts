import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Vm0Error } from '@vm0/contract'
import { captureUpper, type EarlierLayer } from './capture/index.js'
import type { LayerStore } from './layers/layer-store.js'
import type { Manifests } from './sealing/index.js'
import type { BackgroundSquash } from './squash/background-squash.js'
import {
  imagesOf,
  type CheckpointManifest,
  type LayerChain,
  type LayerReference,
  type SavedCheckpoint,
  type SaveRequest,
} from './store.js'

/** What the next layer is made against: these layers show what the index tells of the upper. */
interface Basis {
  layers: readonly LayerReference[]
  /** File of the index; null: the upper was never saved, all of it goes into the next layer. */
  index: string | null
}

export interface ChainOptions {
  manifests: Manifests
  layers: LayerStore
  scratch: string
  /** Absent where chains can't be made shorter. */
  squash?: BackgroundSquash | undefined
}

export class UpperChain implements LayerChain {
  private readonly mounted: readonly LayerReference[]
  private basis: Basis
  private saved: (Basis & { id: string }) | undefined

  constructor(
    private readonly options: ChainOptions,
    manifest: CheckpointManifest | undefined,
  ) {
    this.mounted = manifest?.layers ?? []
    this.basis = { layers: this.mounted, index: null }
    if (manifest) options.squash?.consider(manifest)
  }

  async save(request: SaveRequest): Promise<SavedCheckpoint> {
    return (await this.attempt(request, [])) as SavedCheckpoint
  }

  saveIfChanged(request: SaveRequest, ignored: readonly string[]): Promise<SavedCheckpoint | undefined> {
    return this.attempt(request, ignored)
  }

  private async attempt(
    { manifest, upper, whileFrozen }: SaveRequest,
    ignored: readonly string[],
  ): Promise<SavedCheckpoint | undefined> {
    const startedMs = performance.now()
    const files = join(this.options.scratch, randomBytes(8).toString('hex'))
    const image = `${files}.erofs`
    const nextIndex = `${files}.index`
    await this.forget()
    try {
      let before = (await this.options.squash?.shorten(this.basis.layers)) ?? this.basis.layers
      const earlier = await this.layersAtHand(manifest.projectId, before)
      const capture = () =>
        captureUpper({ upper, index: this.basis.index, earlier, image, nextIndex, ignored }, whileFrozen)
      const layer = await capture().catch(async (error: unknown) => {
        if ((error as { code?: string }).code !== 'INDEX_UNREADABLE') throw error
        // It saves work, it isn't state: without it the next layer holds the whole upper.
        await this.restart()
        before = this.basis.layers
        return capture()
      })
      if (!layer && ignored.length > 0) return undefined
      const basis: Basis = layer
        ? { layers: onTop(before, layer.reference), index: nextIndex }
        : { layers: before, index: this.basis.index }
      if (layer) await this.options.layers.put(manifest.projectId, layer.reference, image)
      const complete: CheckpointManifest = {
        v: basis.layers.some(({ bases }) => bases) ? 2 : 1,
        ...manifest,
        layers: [...basis.layers],
        createdAt: new Date().toISOString(),
      }
      const id = await this.options.manifests.put(complete)
      this.saved = { ...basis, id }
      return {
        id,
        manifest: complete,
        changedFiles: layer?.changedEntries ?? 0,
        sizeBytes: layer?.reference.sizeBytes ?? 0,
        durationMs: performance.now() - startedMs,
      }
    } catch (cause) {
      throw new Vm0Error('CHECKPOINT_FAILED', `the session could not be saved: ${(cause as Error).message}`, { cause })
    } finally {
      await rm(image, { force: true })
      if (this.saved?.index !== nextIndex) await rm(nextIndex, { force: true })
    }
  }

  committed({ id, manifest }: SavedCheckpoint): void {
    if (this.saved?.id !== id) return
    const { index } = this.basis
    this.basis = this.saved
    this.saved = undefined
    if (index && index !== this.basis.index) void rm(index, { force: true })
    this.options.squash?.consider(manifest)
  }

  async close(): Promise<void> {
    await this.options.squash?.close()
    await this.forget()
    await this.restart()
  }

  /** Layers with all that they have blocks in, the topmost first. What would have to be fetched isn't worth it. */
  private async layersAtHand(projectId: string, layers: readonly LayerReference[]): Promise<EarlierLayer[]> {
    const atHand = new Map<string, Promise<string | undefined>>()
    for (const image of layers.flatMap(imagesOf))
      if (!atHand.has(image.digest)) atHand.set(image.digest, this.options.layers.fileAtHand(projectId, image))
    const found = await Promise.all(
      layers.map(async (layer): Promise<EarlierLayer | undefined> => {
        const devices = imagesOf(layer)
        const files = await Promise.all(devices.map(({ digest }) => atHand.get(digest)))
        const [path, ...others] = files.filter((each) => each !== undefined)
        return path !== undefined && 1 + others.length === devices.length
          ? { files: { path, devices: others }, devices }
          : undefined
      }),
    )
    return found.filter((each) => each !== undefined).toReversed()
  }

  /** Drops a checkpoint that was saved and never committed. */
  private async forget(): Promise<void> {
    const index = this.saved?.index
    this.saved = undefined
    if (index && index !== this.basis.index) await rm(index, { force: true })
  }

  private async restart(): Promise<void> {
    const { index } = this.basis
    this.basis = { layers: this.mounted, index: null }
    if (index) await rm(index, { force: true })
  }
}

/**
 * A chain with one more layer. Where it has the same one already, that is only moved: the topmost one hides all that it has, and
 * an overlay takes no layer twice.
 */
const onTop = (layers: readonly LayerReference[], layer: LayerReference): LayerReference[] => [
  ...layers.filter(({ digest }) => digest !== layer.digest),
  layer,
]
