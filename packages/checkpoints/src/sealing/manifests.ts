import type { BlobPort, DerivedKeys } from '@vm0/backends'
import { canonicalJson, Vm0Error } from '@vm0/contract'
import { digestOf, manifestOf, objectName } from '../digest.js'
import type { CheckpointManifest } from '../store.js'
import { isContainer, readContainer, sealContainer } from './container.js'

/** The manifests of a store: canonical JSON, named by its sha256, and sealed with its project's key where there are keys. */
const readableVersions: readonly number[] = [1, 2]

export class Manifests {
  constructor(
    private readonly blobs: BlobPort,
    private readonly keysOf?: (projectId: string) => DerivedKeys,
  ) {}

  /** Durable on return; gives the checkpoint's id. */
  async put(manifest: CheckpointManifest): Promise<string> {
    const text = Buffer.from(canonicalJson(manifest))
    const id = digestOf(text)
    await this.blobs.put(objectName('manifests', id), await this.sealed(manifest.projectId, text))
    return id
  }

  /** As the store keeps a text of a project. */
  async sealed(project: string, text: Buffer): Promise<Buffer> {
    if (!this.keysOf) return text
    const about = { codec: 'none', digest: digestOf(text), sizeBytes: text.length, project } as const
    return collect(sealContainer(about, this.keysOf(project))(once(text)))
  }

  /** Reads and verifies one: CHECKPOINT_CORRUPT, VERSION_UNSUPPORTED or ENCRYPTION_KEY_MISSING name it. */
  async load(id: string): Promise<CheckpointManifest> {
    const name = objectName('manifests', id)
    const corrupt = (what: string, cause?: unknown): Vm0Error =>
      new Vm0Error('CHECKPOINT_CORRUPT', `the manifest of checkpoint ${id} ${what}`, cause ? { cause } : {})
    const stored = Buffer.from(
      await this.blobs.get(name).catch(async (error: unknown) => {
        // Asked only now: a load that goes well is one request.
        if ((error as { code?: string }).code === 'STORE_UNREACHABLE' || (await this.blobs.has(name))) throw error
        throw corrupt('is missing from the store', error)
      }),
    )
    const text = await this.open(stored).catch((cause: unknown) => {
      if (cause instanceof Vm0Error)
        throw new Vm0Error(cause.code, `the manifest of checkpoint ${id}: ${cause.message}`, { cause })
      throw corrupt(`is damaged: ${(cause as Error).message}`, cause)
    })
    const found = digestOf(text)
    if (found !== id) throw corrupt(`has the digest ${found}`)
    const manifest = JSON.parse(text.toString('utf8')) as CheckpointManifest
    if (!readableVersions.includes(manifest.v))
      throw new Vm0Error('VERSION_UNSUPPORTED', `checkpoint ${id} has the version ${manifest.v}; expected 1 or 2`)
    return manifest
  }

  async *list(): AsyncGenerator<string> {
    for await (const { name } of this.blobs.list('manifests/')) {
      const id = manifestOf(name)
      if (id) yield id
    }
  }

  /** The text that `sealed` was given. */
  async open(stored: Buffer): Promise<Buffer> {
    if (!isContainer(stored)) return stored
    const { told, open } = await readContainer(once(stored))
    return collect(open(this.keysOf?.(told.project ?? '')))
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of source) parts.push(part)
  return Buffer.concat(parts)
}
