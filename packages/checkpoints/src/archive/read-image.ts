import { readFile } from 'node:fs/promises'
import {
  imageConfigSchema,
  imageIndexSchema,
  imageLayoutSchema,
  imageManifestSchema,
  Vm0Error,
  type ImageDescriptor,
} from '@vm0/contract'
import { architecture, compressionOf, layoutVersion, mediaTypes } from './oci.js'
import type { ReceivedFiles } from './receive-archive.js'

export interface ImageLayer {
  blob: string
  compression: 'none' | 'gzip' | 'zstd'
  diffId: string
}

export interface ReadImage {
  annotations: Record<string, string>
  /** `NAME=VALUE`, as the image's configuration has them. */
  env: string[]
  /** The lowest first. */
  layers: ImageLayer[]
}

const maxJsonBytes = 1024 ** 2

export interface Schema<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false; error: { message: string } }
}

/** What the files of an OCI image layout say, of the image for this host; each is compared with its schema. */
export async function readImage(files: ReceivedFiles, what: 'session' | 'image'): Promise<ReadImage> {
  const { blobs, texts } = files
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
  let described = chooseManifest(parse('index.json', texts.get('index.json'), imageIndexSchema).manifests)
  // An image for several kinds of processors is an index in the index.
  if (indexTypes.includes(described.mediaType))
    described = chooseManifest(parse('the index', await text(described), imageIndexSchema).manifests)
  const manifest = parse('the manifest', await text(described), imageManifestSchema)
  const config = parse('the configuration', await text(manifest.config), imageConfigSchema)
  if (config.os !== 'linux' || config.architecture !== architecture)
    throw new Vm0Error(
      'ARCHIVE_INVALID',
      `the ${what} is made for ${config.os} on ${config.architecture}; this host is linux on ${architecture}`,
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
  return { annotations: manifest.annotations, env: config.config?.Env ?? [], layers }
}

const indexTypes: string[] = [mediaTypes.index, 'application/vnd.docker.distribution.manifest.list.v2+json']

type Described = ImageDescriptor & { platform?: { os: string; architecture: string } | undefined }

/** The one for this host, or the only one. */
function chooseManifest(manifests: readonly Described[]): Described {
  const fitting = manifests.filter(({ platform }) => platform?.os === 'linux' && platform.architecture === architecture)
  const [one, other] = fitting.length > 0 ? fitting : manifests
  if (one && !other) return one
  const platforms = manifests.map(({ platform }) =>
    platform ? `${platform.os} on ${platform.architecture}` : 'no platform',
  )
  throw new Vm0Error(
    'ARCHIVE_INVALID',
    `the file holds ${manifests.length} images (${platforms.join(', ')}); expected one for linux on ${architecture}`,
  )
}

export function parse<T>(what: string, text: string | undefined, schema: Schema<T>): T {
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
