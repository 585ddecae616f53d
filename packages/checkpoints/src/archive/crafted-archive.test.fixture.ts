import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { archiveAnnotation } from '@vm0/contract'
import { packTar, type TarHeader } from 'modern-tar'
import { architecture, blobName, mediaTypes } from './oci.js'

export const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

export type CraftedEntry = Omit<TarHeader, 'size'> & { data?: string | Uint8Array; size?: number }

export function tarOf(entries: readonly CraftedEntry[]): Promise<Uint8Array> {
  return packTar(
    entries.map(({ data, ...header }) => {
      const body = typeof data === 'string' ? Buffer.from(data) : (data ?? new Uint8Array())
      return { header: { mtime: new Date(0), size: body.length, ...header }, body }
    }),
  )
}

export interface Crafted {
  /** The layer over the template. */
  layer?: readonly CraftedEntry[]
  /** Instead of the tar of those. */
  tar?: Uint8Array
  template?: string
  about?: Record<string, unknown> | null
  diffIds?: readonly string[]
  layout?: object
  config?: object
  /** Changes the files before they are packed. */
  change?(files: Map<string, Uint8Array>): void
  /** More entries of the outer tar. */
  more?: readonly CraftedEntry[]
}

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value))

/** A session's file as another program might write it, by gzip, with whatever a test puts in. */
export async function craftArchive(crafted: Crafted = {}): Promise<Uint8Array> {
  const files = new Map<string, Uint8Array>()
  const blob = (mediaType: string, bytes: Uint8Array) => {
    const digest = sha256(bytes)
    files.set(blobName(digest), bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const empty = await tarOf([{ name: './', type: 'directory' }])
  const tar = crafted.tar ?? (await tarOf(crafted.layer ?? [{ name: 'file', data: 'content' }]))
  files.set('oci-layout', json(crafted.layout ?? { imageLayoutVersion: '1.0.0' }))
  const config = blob(
    mediaTypes.config,
    json({
      architecture,
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: crafted.diffIds ?? [sha256(empty), sha256(tar)] },
      ...crafted.config,
    }),
  )
  const gzip = 'application/vnd.oci.image.layer.v1.tar+gzip'
  const about = {
    v: 1,
    id: '0190a000-0000-7000-8000-000000000000',
    checkpoint: sha256(Buffer.from('checkpoint')),
    template: crafted.template ?? sha256(Buffer.from('template')),
    conversation: null,
    resources: {},
    labels: {},
    createdAt: '2026-01-01T00:00:00.000Z',
    ...crafted.about,
  }
  const manifest = blob(
    mediaTypes.manifest,
    json({
      schemaVersion: 2,
      config,
      layers: [blob(gzip, gzipSync(empty)), blob(gzip, gzipSync(tar))],
      annotations: crafted.about === null ? {} : { [archiveAnnotation]: JSON.stringify(about) },
    }),
  )
  files.set('index.json', json({ schemaVersion: 2, manifests: [manifest] }))
  crafted.change?.(files)
  return tarOf([...[...files].map(([name, data]) => ({ name, data })), ...(crafted.more ?? [])])
}
