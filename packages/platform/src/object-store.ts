import { join } from 'node:path'
import { openBlobDirectory, openBlobS3, openFileCache, type BlobPort, type SecretsPort } from '@vm0/backends'
import type { CheckpointStoreOptions } from '@vm0/checkpoints'

export interface ObjectStore {
  blobs: BlobPort
  packed: CheckpointStoreOptions['packed']
  close(): Promise<void>
}

/**
 * Where objects are kept: a folder of the data directory, or with VM0_S3_BUCKET a bucket of an S3-compatible store
 * (VM0_S3_ENDPOINT and VM0_S3_PREFIX; region and credentials as the AWS tools find them). Layers in a bucket are
 * compressed and sealed with a key per project, derived from the installation's master key; VM0_CACHE_GIB bounds the plain
 * ones that are kept on this host.
 */
export async function openObjectStore(dataDir: string, secrets: SecretsPort): Promise<ObjectStore> {
  const { VM0_S3_BUCKET, VM0_S3_ENDPOINT, VM0_S3_PREFIX, VM0_CACHE_GIB, AWS_REGION } = process.env
  if (!VM0_S3_BUCKET) {
    const blobs = await openBlobDirectory(join(dataDir, 'objects'))
    return { blobs, packed: undefined, close: () => Promise.resolve() }
  }
  const maxBytes = Number(VM0_CACHE_GIB || 20) * 1024 ** 3
  const blobs = await openBlobS3({
    bucket: VM0_S3_BUCKET,
    cache: await openFileCache({ directory: join(dataDir, 'cache/objects'), maxBytes: maxBytes / 10 }),
    // A save that fails is work that is in a sandbox only: better late.
    writePatienceMs: 180_000,
    ...(VM0_S3_ENDPOINT ? { endpoint: VM0_S3_ENDPOINT } : {}),
    ...(VM0_S3_PREFIX ? { prefix: VM0_S3_PREFIX } : {}),
    ...(AWS_REGION ? { region: AWS_REGION } : {}),
  })
  const packed = {
    cache: await openFileCache({ directory: join(dataDir, 'cache/layers'), maxBytes }),
    keysOf: (projectId: string) => secrets.keysFor(`layers of the project ${projectId}`),
  }
  return { blobs, packed, close: async () => blobs.close() }
}
