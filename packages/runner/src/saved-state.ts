import type { CheckpointManifest, CheckpointStore, LayerChain, SavedCheckpoint, SaveRequest } from '@vm0/checkpoints'
import type { ClaimedSession, SessionRef } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'

/** Why a session is saved, and what its checkpoint says of it. */
export interface SaveReason {
  cause: CheckpointManifest['cause']
  /** The epoch under which the session is owned. */
  epoch: number
  runId?: string
  outcome?: string
  /** Where the conversation stands now; where it stood before, without it. */
  conversation?: CheckpointManifest['conversation']
  toolCalls?: { id: string; name: string }[]
  name?: string
}

/** Has nobody write for as long as `capture` takes. */
export type WhileFrozen = SaveRequest['whileFrozen']

/** What of a sandbox is saved: checkpoints, each of which follows on the one before, the first on what it was made from. */
export class SavedState {
  readonly template: string
  private head: string | null
  /** Digest of the top layer of the head. */
  private topLayer: string | undefined
  private now: CheckpointManifest['conversation']
  private readonly chain: LayerChain

  constructor(
    private readonly ref: SessionRef,
    checkpoints: CheckpointStore,
    state: ClaimedSession,
    /** Of the head. */
    manifest: CheckpointManifest | undefined,
    /** Of what the sandbox was made from; undefined: from its template alone. The head may have moved on since. */
    mounted: CheckpointManifest | undefined,
  ) {
    this.template = manifest?.template ?? state.template
    this.head = state.head
    this.chain = checkpoints.openChain(mounted)
    this.topLayer = manifest?.layers.at(-1)?.digest
    this.now = manifest?.conversation ?? null
  }

  get conversation(): CheckpointManifest['conversation'] {
    return this.now
  }

  /**
   * Saves what changed since the last commit, under a short freeze. The caller commits; `committed` then makes it the
   * parent of the next one. One is saved and committed before the next: two at once would both claim the same parent.
   */
  save(sandbox: Sandbox, reason: SaveReason, whileFrozen: WhileFrozen): Promise<SavedCheckpoint> {
    return sandbox.withUpperView((upper) => this.chain.save({ manifest: this.describe(reason), upper, whileFrozen }))
  }

  /** The same, where anything but what is at `ignored` (paths of the sandbox) has changed. */
  saveIfChanged(
    sandbox: Sandbox,
    reason: SaveReason,
    ignored: readonly string[],
    whileFrozen: WhileFrozen,
  ): Promise<SavedCheckpoint | undefined> {
    const paths = ignored.map((path) => path.slice(1))
    return sandbox.withUpperView((upper) =>
      this.chain.saveIfChanged({ manifest: this.describe(reason), upper, whileFrozen }, paths),
    )
  }

  private describe({
    cause,
    epoch,
    runId,
    outcome,
    conversation,
    toolCalls,
    name,
  }: SaveReason): SaveRequest['manifest'] {
    return {
      ...this.ref,
      runId: runId ?? null,
      parent: this.head,
      cause,
      outcome: outcome ?? null,
      epoch,
      template: this.template,
      conversation: conversation ?? this.now,
      ...(toolCalls ? { toolCalls } : {}),
      ...(name === undefined ? {} : { name }),
    }
  }

  committed(saved: SavedCheckpoint): void {
    this.chain.committed(saved)
    this.head = saved.id
    this.topLayer = saved.manifest.layers.at(-1)?.digest
    this.now = saved.manifest.conversation
  }

  /** Whether a checkpoint holds anything that the head doesn't. */
  changes(saved: SavedCheckpoint): boolean {
    return saved.manifest.layers.at(-1)?.digest !== this.topLayer
  }

  close(): Promise<void> {
    return this.chain.close()
  }
}
