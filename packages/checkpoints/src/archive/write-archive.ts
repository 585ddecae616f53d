import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { archiveAnnotation, type ArchivedSession, type ArchivedSessionInput, type ImageDescriptor } from '@vm0/contract'
import { createTarPacker } from 'modern-tar'
import { digestOf } from '../digest.js'
import { wholeImage, type ImageFiles } from '../erofs/open-images.js'
import type { CheckpointManifest } from '../store.js'
import { layerToTar } from '../to-tar/index.js'
import { architecture, blobName, layoutVersion, mediaTypes } from './oci.js'

export type ExportedSession = Omit<
  ArchivedSession,
  'v' | 'template' | 'templateIncluded' | 'conversation' | 'createdAt'
>

export interface WriteOptions {
  manifest: CheckpointManifest
  about: ExportedSession
  /** The template's image, unless it is to be left out. */
  templateImage: string | undefined
  /** Those of the layers over it. */
  images: readonly ImageFiles[]
  /** Folder for a layer's blob while it is made. */
  scratch: string
}

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value))

/** A checkpoint as an OCI image layout in a tar, as it comes: the blobs first, for nobody knows their digests before they are made. */
export async function* writeArchive(options: WriteOptions): AsyncGenerator<Uint8Array> {
  const { readable, controller } = createTarPacker()
  const leaving = new AbortController()
  const archive = new Archive(controller)
  const writing = writeAll(options, archive, leaving.signal).catch((error: unknown) => controller.error(error))
  try {
    yield* readable as unknown as AsyncIterable<Uint8Array>
  } finally {
    leaving.abort()
    await writing
  }
}

async function writeAll(options: WriteOptions, archive: Archive, signal: AbortSignal): Promise<void> {
  const { manifest, about, templateImage, images, scratch } = options
  await archive.file('oci-layout', json({ imageLayoutVersion: layoutVersion }))
  const layers: ImageDescriptor[] = []
  const diffIds: string[] = []
  for (const image of templateImage === undefined ? images : [wholeImage(templateImage), ...images]) {
    const target = join(scratch, `${randomBytes(8).toString('hex')}.blob`)
    try {
      const { digest, sizeBytes, diffId } = await layerToTar({ image, target }, signal)
      layers.push({ mediaType: mediaTypes.layer, digest, size: sizeBytes })
      diffIds.push(diffId)
      await archive.blob(digest, sizeBytes, createReadStream(target, { highWaterMark: 1024 ** 2 }))
    } finally {
      await rm(target, { force: true })
    }
  }
  const { template, conversation, createdAt } = manifest
  const version = templateImage === undefined ? ({ v: 2, templateIncluded: false } as const) : ({ v: 1 } as const)
  const session: ArchivedSessionInput = { ...version, ...about, template, conversation, createdAt }
  const config = await archive.json(mediaTypes.config, configOf(manifest, diffIds))
  const described = await archive.json(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config,
    layers,
    annotations: { [archiveAnnotation]: JSON.stringify(session), 'org.opencontainers.image.created': createdAt },
  })
  const index = {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [{ ...described, platform: { architecture, os: 'linux' } }],
  }
  await archive.file('index.json', json(index))
  archive.end()
}

/** What a program needs that runs the image as a container: the same as in a sandbox. */
function configOf({ createdAt, layers }: CheckpointManifest, diffIds: readonly string[]): object {
  const made = { created: createdAt, created_by: 'vm0 export' }
  const own = layers.map(() => made)
  return {
    created: createdAt,
    architecture,
    os: 'linux',
    config: {
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root'],
      Cmd: ['/bin/bash'],
      WorkingDir: '/workspace',
    },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: diffIds.length > layers.length ? [{ ...made, comment: 'template' }, ...own] : own,
  }
}

/** The outer tar. A blob that comes twice is written once. */
class Archive {
  private readonly written = new Set<string>()

  constructor(private readonly controller: ReturnType<typeof createTarPacker>['controller']) {}

  async json(mediaType: string, value: object): Promise<ImageDescriptor> {
    const bytes = json(value)
    const digest = digestOf(bytes)
    await this.blob(digest, bytes.length, [bytes])
    return { mediaType, digest, size: bytes.length }
  }

  async blob(digest: string, size: number, content: AsyncIterable<Uint8Array> | Uint8Array[]): Promise<void> {
    if (this.written.has(digest)) return
    this.written.add(digest)
    await this.add(blobName(digest), size, content)
  }

  file(name: string, bytes: Uint8Array): Promise<void> {
    return this.add(name, bytes.length, [bytes])
  }

  end(): void {
    this.controller.finalize()
  }

  private async add(name: string, size: number, content: AsyncIterable<Uint8Array> | Uint8Array[]): Promise<void> {
    const body = this.controller.add({ name, size, mode: 0o644, mtime: new Date(0) }).getWriter()
    // Node's buffers share their memory: what waits in the stream must be its own.
    for await (const bytes of content) await body.write(new Uint8Array(bytes))
    await body.close()
  }
}
