import { Vm0Error } from '@vm0/contract'

export const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const

export const layoutVersion = '1.0.0'

const compressions: Record<string, 'none' | 'gzip' | 'zstd'> = {
  'application/vnd.oci.image.layer.v1.tar': 'none',
  'application/vnd.oci.image.layer.v1.tar+gzip': 'gzip',
  [mediaTypes.layer]: 'zstd',
  'application/vnd.docker.image.rootfs.diff.tar': 'none',
  'application/vnd.docker.image.rootfs.diff.tar.gzip': 'gzip',
}

export function compressionOf(mediaType: string): 'none' | 'gzip' | 'zstd' {
  const compression = compressions[mediaType]
  if (!compression)
    throw new Vm0Error(
      'ARCHIVE_INVALID',
      `a layer is of the type ${mediaType}; expected ${Object.keys(compressions).join(', ')}`,
    )
  return compression
}

/** The name that OCI has for this machine's processor. */
export const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch

export const blobName = (digest: string): string => `blobs/sha256/${digest.slice('sha256:'.length)}`
