import type { ArchivePort, CheckpointCause } from '@vm0/contract'
import type { Device } from './erofs/format.js'
import type { ImageFiles } from './erofs/open-images.js'
import type { DiffPage, DiffOptions } from './diff/index.js'
import type { Resealed } from './sealing/index.js'
import type { Templates } from './templates/index.js'
import type { Collected, FsckReport, References } from './upkeep/index.js'

/** What a checkpoint says of itself; stored as canonical JSON whose sha256 is the checkpoint's id. */
export interface CheckpointManifest {
  /** 2: a layer has blocks in others, which earlier versions of VM0 can't read. */
  v: 1 | 2
  projectId: string
  sessionId: string
  runId: string | null
  /** The checkpoint before this one, or null for the first. */
  parent: string | null
  cause: CheckpointCause
  outcome: string | null
  epoch: number
  /** Digest of the template image: `sha256:…`. */
  template: string
  /** Layers over the template, the oldest first. */
  layers: LayerReference[]
  /** Where the conversation stands; null before the first run. */
  conversation: { framework: string; agentSessionId: string; agentVersion: string } | null
  createdAt: string
  /** The tool calls since the checkpoint before, of one that was made within a run. */
  toolCalls?: { id: string; name: string }[]
  /** A person's name for it. */
  name?: string
}

/** An erofs image with canonical owners: the sha256 and size of its plain bytes. */
export interface LayerReference extends Device {
  /** Layers that have blocks of this one's files, in the order of its table. They need be in no chain themselves. */
  bases?: readonly Device[]
}

/** The images that a layer is read from: its own, then those that have blocks of its files, in the order of its table. */
export const imagesOf = ({ digest, sizeBytes, bases = [] }: LayerReference): Device[] => [
  { digest, sizeBytes },
  ...bases,
]

export interface SaveRequest {
  manifest: Omit<CheckpointManifest, 'v' | 'layers' | 'createdAt'>
  /** A read-only view of the whole upper with canonical owners. */
  upper: string
  /** Has nobody write to the upper for as long as `capture` takes; called at most once. */
  whileFrozen(capture: () => Promise<void>): Promise<void>
}

export interface SavedCheckpoint {
  /** `sha256:…` of the manifest. */
  id: string
  manifest: CheckpointManifest
  /** Files that are new, changed or gone since the checkpoint before. */
  changedFiles: number
  /** Of the new layer; 0 where nothing changed and there is none. */
  sizeBytes: number
  durationMs: number
}

/**
 * The layers of one sandbox: those that it was mounted from, then one for each checkpoint of its upper. One call at a
 * time: a checkpoint follows on the one before it.
 */
export interface LayerChain {
  /** Stores a layer of what changed since the last committed checkpoint, and the manifest; on return both are durable. Fails with CHECKPOINT_FAILED and leaves nothing half-written. */
  save(request: SaveRequest): Promise<SavedCheckpoint>
  /** The same, where anything has changed but directories and what is at or below `ignored`: paths from the upper's root. Otherwise nothing is stored. */
  saveIfChanged(request: SaveRequest, ignored: readonly string[]): Promise<SavedCheckpoint | undefined>
  /** The checkpoint that was saved last is the session's head: the next one follows on it. */
  committed(saved: SavedCheckpoint): void
  close(): Promise<void>
}

export interface CheckpointStore {
  /** The chain of a sandbox that is mounted from a checkpoint's layers (none: from the template alone) and whose upper was never saved. */
  openChain(manifest?: CheckpointManifest): LayerChain
  /** Reads and verifies a manifest; CHECKPOINT_CORRUPT names what is damaged. */
  load(id: string): Promise<CheckpointManifest>
  /** Ids of all that are in the store, whether or not anything refers to them. */
  list(): AsyncIterable<string>
  /** Local files of the layers' images, verified against their digests (once per process and file identity). */
  layerImages(manifest: CheckpointManifest): Promise<ImageFiles[]>
  /** What the second has that the first has not, or has otherwise; the first may be `null`: what its template has. */
  diff(
    before: CheckpointManifest | null,
    after: CheckpointManifest,
    query: DiffOptions,
    signal?: AbortSignal,
  ): Promise<DiffPage>
  /** The images of templates; needs this host's at hand. */
  readonly templates: Pick<
    Templates,
    'image' | 'make' | 'receive' | 'shadowed' | 'merged' | 'upgrade' | 'describe' | 'documents'
  >
  /** Sessions as files; needs templates at hand. */
  readonly archives: ArchivePort
  /** Whether every object of every checkpoint is there, and with `deep` what it should be: every byte is read. */
  fsck(references: References, options: UpkeepOptions & { deep: boolean }): Promise<FsckReport>
  /** Removes the objects that nothing refers to and that were not written within the grace time. */
  gc(references: References, options: UpkeepOptions & { graceMs: number; dryRun?: boolean }): Promise<Collected>
  /** How many layers and manifests are sealed under each master key; `''`: under none. Empty where nothing is sealed here. */
  sealedObjects(options: Pick<UpkeepOptions, 'signal'>): Promise<ReadonlyMap<string, number>>
  /** Seals under the newest key what is under another one, or under none. */
  reseal(options: UpkeepOptions): Promise<Resealed>
}

export interface UpkeepOptions {
  /** Is told how many checkpoints, or sealed objects, were looked at so far. */
  onProgress?: (count: number) => void
  signal?: AbortSignal
}
