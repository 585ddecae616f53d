import { randomBytes } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Vm0Error, type IncomingImage, type StoredTemplate, type TemplateFacts } from '@vm0/contract'
import { limitsOn } from '../archive/archives.js'
import { readImage, type ReadImage } from '../archive/read-image.js'
import { receiveFiles } from '../archive/receive-archive.js'
import { wholeImage } from '../erofs/open-images.js'
import { layerFromTar, type ImportLimits, type Spent } from '../from-tar/index.js'
import type { LayerStore } from '../layers/layer-store.js'
import { squashLayers } from '../squash/index.js'
import { factsLayer } from './facts-layer.js'

interface Options {
  layers: LayerStore
  scratch: string
  limits?: Partial<ImportLimits> | undefined
}

/** Takes an OCI image layout in a tar into the scratch folder and checks it. Its bytes are never mounted. */
export async function receiveImage(options: Options, content: AsyncIterable<Uint8Array>): Promise<IncomingImage> {
  const folder = join(options.scratch, `image-${randomBytes(8).toString('hex')}`)
  await mkdir(folder, { mode: 0o700 })
  try {
    const limits = await limitsOn(options)
    const image = await readImage(await receiveFiles(content, folder, limits.maxArchiveBytes), 'image')
    if (image.layers.length === 0)
      throw new Vm0Error('ARCHIVE_INVALID', 'the image has no layers; expected one or more')
    return new Incoming(options, folder, image, limits)
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

class Incoming implements IncomingImage {
  readonly env: Record<string, string>

  constructor(
    private readonly options: Options,
    private readonly folder: string,
    private readonly image: ReadImage,
    private readonly limits: ImportLimits,
  ) {
    this.env = Object.fromEntries(image.env.map(pairOf).filter(([name]) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)))
  }

  /** Each layer is made anew from its tar by our own code; then one image is made of them. */
  async store(projectId: string, facts: TemplateFacts, signal?: AbortSignal): Promise<StoredTemplate> {
    const { layers } = this.options
    const made: string[] = []
    let spent: Spent = { bytes: 0, entries: 0 }
    for (const [at, layer] of this.image.layers.entries()) {
      const [image, spool] = [join(this.folder, `${at}.erofs`), join(this.folder, `${at}.spool`)]
      const result = await layerFromTar({ ...layer, image, spool, limits: this.limits, spent }, signal)
      spent = result.spent
      await rm(spool)
      made.push(image)
    }
    const image = join(this.folder, 'template.erofs')
    // Sessions work in /workspace, which an image from elsewhere may not have.
    const all = [await factsLayer(this.folder, facts, ['workspace/']), ...made.toReversed()]
    const reference = await squashLayers({ layers: all.map(wholeImage), below: [], image }, signal)
    await layers.put(projectId, reference, image)
    return reference
  }

  close(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }
}

function pairOf(text: string): [name: string, value: string] {
  const at = text.indexOf('=')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
