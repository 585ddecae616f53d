import { readFile } from 'node:fs/promises'
import {
  archiveAnnotation,
  archivedSessionSchema,
  archiveVersion,
  imageConfigSchema,
  imageIndexSchema,
  imageLayoutSchema,
  imageManifestSchema,
  Vm0Error,
  type ArchivedSession,
  type ImageDescriptor,
} from '@vm0/contract'
import { architecture, compressionOf, layoutVersion } from './oci.js'
import type { ReceivedFiles } from './receive-archive.js'

export interface IncomingLayer {
  blob: string
  compression: 'none' | 'gzip' | 'zstd'
  diffId: string
}

export interface IncomingArchive {
  about: ArchivedSession
  /** The template, unless it was left out. */
  base: IncomingLayer | undefined
  /** The session's own, the oldest first. */
  over: IncomingLayer[]
}

const maxJsonBytes = 1024 ** 2

interface Schema<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false; error: { message: string } }
}

/** What the files of a layout say, as far as a session is made of it; each is compared with its schema. */
export async function readArchive({ blobs, texts }: ReceivedFiles): Promise<IncomingArchive> {
  const layout = parse('oci-layout', texts.get('oci-layout'), imageLayoutSchema)
  if (layout.imageLayoutVersion !== layoutVersion)
    throw new Vm0Error(
      'VERSION_UNSUPPORTED',
      `the file is an image layout of the version ${layout.imageLayoutVersion}; expected ${layoutVersion}`,
    )
  const find = ({ digest, size }: ImageDescriptor): { path: string; sizeBytes: number } => {
    const blob = blobs.get(digest)
    if (!blob) throw new Vm0Error('ARCHIVE_CORRUPT', `the file lacks the blob ${digest}`)
    if (blob.sizeBytes !== size)
      throw new Vm0Error('ARCHIVE_CORRUPT', `the blob ${digest} has ${blob.sizeBytes} bytes; expected ${size}`)
    return blob
  }
  const text = async (descriptor: ImageDescriptor): Promise<string> => {
    const { path, sizeBytes } = find(descriptor)
    if (sizeBytes > maxJsonBytes)
      throw new Vm0Error('ARCHIVE_INVALID', `the blob ${descriptor.digest} is too large for JSON`)
    return readFile(path, 'utf8')
  }
  const [described] = parse('index.json', texts.get('index.json'), imageIndexSchema).manifests
  const manifest = parse('the manifest', await text(described as ImageDescriptor), imageManifestSchema)
  const config = parse('the configuration', await text(manifest.config), imageConfigSchema)
  const about = aboutOf(manifest.annotations[archiveAnnotation])
  if (config.os !== 'linux' || config.architecture !== architecture)
    throw new Vm0Error(
      'ARCHIVE_INVALID',
      `the session is made for ${config.os} on ${config.architecture}; this host is linux on ${architecture}`,
    )
  const diffIds = config.rootfs.diff_ids
  if (diffIds.length !== manifest.layers.length)
    throw new Vm0Error(
      'ARCHIVE_INVALID',
      `the image has ${manifest.layers.length} layers and ${diffIds.length} digests of them`,
    )
  const layers = manifest.layers.map((layer, index) => ({
    blob: find(layer).path,
    compression: compressionOf(layer.mediaType),
    diffId: diffIds[index] as string,
  }))
  if (!about.templateIncluded) return { about, base: undefined, over: layers }
  const [base, ...over] = layers
  if (!base) throw new Vm0Error('ARCHIVE_INVALID', 'the image has no layers; expected the template and those over it')
  return { about, base, over }
}

function aboutOf(annotation: string | undefined): ArchivedSession {
  if (annotation === undefined)
    throw new Vm0Error('ARCHIVE_INVALID', `the image is no session: it lacks the annotation ${archiveAnnotation}`)
  const { v } = parse('the annotation', annotation, anyVersion)
  if (v > archiveVersion)
    throw new Vm0Error(
      'VERSION_UNSUPPORTED',
      `the session was exported in the version ${v}; expected at most ${archiveVersion}`,
    )
  return parse('the annotation', annotation, archivedSessionSchema)
}

const anyVersion: Schema<{ v: number }> = {
  safeParse: (value) => {
    const { v } = (value ?? {}) as { v?: unknown }
    return typeof v === 'number'
      ? { success: true, data: { v } }
      : { success: false, error: { message: 'it has no version' } }
  },
}

function parse<T>(what: string, text: string | undefined, schema: Schema<T>): T {
  if (text === undefined)
    throw new Vm0Error('ARCHIVE_CORRUPT', `the file lacks ${what}: it is no whole OCI image layout`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new Vm0Error('ARCHIVE_INVALID', `${what} is not JSON`, { cause })
  }
  const result = schema.safeParse(value)
  if (!result.success)
    throw new Vm0Error('ARCHIVE_INVALID', `${what} is not what it should be: ${result.error.message.slice(0, 500)}`)
  return result.data
}
