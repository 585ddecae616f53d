import { randomBytes } from 'node:crypto'
import { mkdir, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { Vm0Error, type ArchivePort, type IncomingSession, type StoredImport } from '@vm0/contract'
import type { ImageFiles } from '../erofs/open-images.js'
import { layerFromTar, type ImportLimits, type Spent } from '../from-tar/index.js'
import type { LayerStore } from '../layers/layer-store.js'
import type { Manifests } from '../sealing/index.js'
import type { CheckpointManifest, LayerReference } from '../store.js'
import { readArchive, type IncomingArchive, type IncomingLayer } from './read-archive.js'
import { receiveFiles } from './receive-archive.js'
import { writeArchive } from './write-archive.js'

export interface ArchiveOptions {
  manifests: Manifests
  layers: LayerStore
  scratch: string
  layerImages(manifest: CheckpointManifest): Promise<ImageFiles[]>
  /** Local path of a template's image; rejects where it isn't there. */
  templateImage(digest: string, projectId: string): Promise<string>
  /** Makes an image, which may be taken over, one of this machine's templates. */
  addTemplate(digest: string, image: string): Promise<void>
  limits?: Partial<ImportLimits> | undefined
}

const gib = 1024 ** 3

/** Sessions as files: written from a checkpoint, and made anew from what comes in. */
export function openArchives(options: ArchiveOptions): ArchivePort {
  return {
    async *export(about, { withTemplate }) {
      const manifest = await options.manifests.load(about.checkpoint)
      const { template, projectId } = manifest
      const templateImage = withTemplate ? await options.templateImage(template, projectId) : undefined
      const images = await options.layerImages(manifest)
      yield* writeArchive({ manifest, about, templateImage, images, scratch: options.scratch })
    },
    async receive(content) {
      const folder = join(options.scratch, `import-${randomBytes(8).toString('hex')}`)
      await mkdir(folder, { mode: 0o700 })
      try {
        const limits = await limitsOn(options)
        const archive = await readArchive(await receiveFiles(content, folder, limits.maxArchiveBytes))
        return new Incoming(options, folder, archive, limits)
      } catch (error) {
        await rm(folder, { recursive: true, force: true })
        throw error
      }
    },
  }
}

/** Never more than what leaves the host room to work. */
export async function limitsOn({ scratch, limits }: Pick<ArchiveOptions, 'scratch' | 'limits'>): Promise<ImportLimits> {
  const { bavail, bsize } = await statfs(scratch)
  const room = Math.floor((bavail * bsize) / 4)
  return {
    maxArchiveBytes: Math.min(64 * gib, room),
    maxUnpackedBytes: Math.min(64 * gib, room),
    maxEntries: 2_000_000,
    ...limits,
  }
}

class Incoming implements IncomingSession {
  private spent: Spent = { bytes: 0, entries: 0 }

  constructor(
    private readonly options: ArchiveOptions,
    private readonly folder: string,
    private readonly archive: IncomingArchive,
    private readonly limits: ImportLimits,
  ) {}

  get about(): IncomingSession['about'] {
    return this.archive.about
  }

  async store(session: Parameters<IncomingSession['store']>[0]): Promise<StoredImport> {
    const { options } = this
    const { projectId, sessionId } = session
    const { base, over } = this.archive
    const template = session.template ?? (await this.template(base, projectId))
    const made: { reference: LayerReference; image: string }[] = []
    for (const layer of over) made.push(await this.rebuild(layer))
    // All at once, so that what is stored first isn't old before a row names it.
    for (const { reference, image } of made) await options.layers.put(projectId, reference, image)
    const manifest: CheckpointManifest = {
      v: 1,
      projectId,
      sessionId,
      runId: null,
      parent: null,
      cause: 'import',
      outcome: null,
      epoch: 0,
      template,
      layers: made.map(({ reference }) => reference),
      conversation: this.about.conversation,
      createdAt: new Date().toISOString(),
    }
    const checkpoint = await options.manifests.put(manifest)
    return { checkpoint, template, sizeBytes: made.reduce((sum, { reference }) => sum + reference.sizeBytes, 0) }
  }

  /** The template that the project or this machine has, else the one that came along: it then has another digest, for it is made anew. */
  private async template(layer: IncomingLayer | undefined, projectId: string): Promise<string> {
    const { template } = this.about
    const known = await this.options.templateImage(template, projectId).catch(() => undefined)
    if (known !== undefined) return template
    if (!layer)
      throw new Vm0Error('UNKNOWN_TEMPLATE', `the file has no template, and ${template} is not known here`, {
        hint: 'Name one that the session shall go on with, such as `vm0 import FILE --template standard`, or export it with its template.',
      })
    const { reference, image } = await this.rebuild(layer)
    await this.options.addTemplate(reference.digest, image)
    return reference.digest
  }

  private async rebuild({
    blob,
    compression,
    diffId,
  }: IncomingLayer): Promise<{ reference: LayerReference; image: string }> {
    const files = join(this.folder, randomBytes(8).toString('hex'))
    const [image, spool] = [`${files}.erofs`, `${files}.spool`]
    const { limits, spent } = this
    try {
      const result = await layerFromTar({ blob, compression, diffId, image, spool, limits, spent })
      this.spent = result.spent
      return { reference: result.reference, image }
    } finally {
      await rm(spool, { force: true })
    }
  }

  close(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }
}
