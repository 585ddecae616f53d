/** What a checkpoint says of itself; stored as canonical JSON whose sha256 is the checkpoint's id. */
export interface CheckpointManifest {
  v: 1
  projectId: string
  sessionId: string
  runId: string | null
  /** The checkpoint before this one, or null for the first. */
  parent: string | null
  /** `run` (after a run), `close`, `idle`, `exec`. */
  cause: 'run' | 'close' | 'idle' | 'exec'
  outcome: string | null
  epoch: number
  /** Digest of the template image: `sha256:…`. */
  template: string
  /** Layers over the template, the oldest first. */
  layers: { digest: string; sizeBytes: number }[]
  /** Where the conversation stands; null before the first run. */
  conversation: { framework: string; agentSessionId: string; agentVersion: string } | null
  createdAt: string
}

export interface SaveRequest {
  manifest: Omit<CheckpointManifest, 'v' | 'layers' | 'createdAt'>
  /** Layers that the sandbox was mounted from. The new one comes on top. */
  baseLayers: CheckpointManifest['layers']
  /** A read-only view of the whole upper with canonical owners. */
  upper: string
}

export interface SavedCheckpoint {
  /** `sha256:…` of the manifest. */
  id: string
  manifest: CheckpointManifest
  changedFiles: number
  sizeBytes: number
  durationMs: number
}

export interface CheckpointStore {
  /** Packs the upper into a layer, stores it and the manifest; on return both are durable. Fails with CHECKPOINT_FAILED and leaves nothing half-written. */
  save(request: SaveRequest): Promise<SavedCheckpoint>
  /** Reads and verifies a manifest; CHECKPOINT_CORRUPT names what is damaged. */
  load(id: string): Promise<CheckpointManifest>
  /** Local paths of the layers' images, verified against their digests (once per process and file identity). */
  layerImages(manifest: CheckpointManifest): Promise<string[]>
}
