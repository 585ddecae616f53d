import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { wholeImage } from '../erofs/open-images.js'
import { imageFiles, type LayerStore } from '../layers/layer-store.js'
import type { CheckpointManifest, LayerReference } from '../store.js'
import { chooseSquash, squashLayers } from './index.js'

export interface SquashOptions {
  layers: LayerStore
  scratch: string
  /** A chain that is longer is made shorter. */
  maxLayers: number
  /** Local path of a template's image by its digest. */
  templateImage(digest: string, projectId: string): Promise<string>
  onError(error: unknown): void
}

/** Makes the chain of one sandbox shorter while the sandbox goes on. Earlier checkpoints keep the layers that they name. */
export class BackgroundSquash {
  private running: Promise<void> | undefined
  private readonly stop = new AbortController()
  private replaced: { projectId: string; from: readonly LayerReference[]; to: readonly LayerReference[] } | undefined

  constructor(private readonly options: SquashOptions) {}

  /** Begins on a checkpoint's layers when there are too many, and none is at work. */
  consider({ projectId, template, layers }: CheckpointManifest): void {
    const sizes = layers.map(({ sizeBytes }) => sizeBytes)
    const from = chooseSquash(sizes, this.options.maxLayers)
    if (from === undefined || this.running || this.stop.signal.aborted) return
    this.running = this.squash(projectId, template, layers, from)
      .catch((error: unknown) => {
        if (!this.stop.signal.aborted) this.options.onError(error)
      })
      .finally(() => (this.running = undefined))
  }

  /** The same chain with what was squashed meanwhile. One that got very long waits for that. */
  async shorten(layers: readonly LayerReference[]): Promise<readonly LayerReference[]> {
    if (layers.length > this.options.maxLayers * 3) await this.running
    if (!this.replaced) return layers
    const { projectId, from, to } = this.replaced
    if (!from.every(({ digest }, index) => layers[index]?.digest === digest)) return layers
    // No checkpoint names the new layer yet: it may have been collected since.
    const made = to.at(-1) as LayerReference
    if (!(await this.options.layers.renew(projectId, made))) return layers
    return [...to, ...layers.slice(from.length)]
  }

  async close(): Promise<void> {
    this.stop.abort()
    await this.running
  }

  private async squash(
    projectId: string,
    template: string,
    chain: readonly LayerReference[],
    from: number,
  ): Promise<void> {
    const { layers, scratch, templateImage } = this.options
    const image = join(scratch, `${randomBytes(8).toString('hex')}.erofs`)
    try {
      const images = await Promise.all(chain.map((layer) => imageFiles(layers, projectId, layer)))
      const below = [...images.slice(0, from).toReversed(), wholeImage(await templateImage(template, projectId))]
      const task = { layers: images.slice(from).toReversed(), below, image }
      const reference = await squashLayers(task, this.stop.signal)
      await layers.put(projectId, reference, image)
      this.replaced = { projectId, from: chain, to: [...chain.slice(0, from), reference] }
    } finally {
      await rm(image, { force: true })
    }
  }
}
